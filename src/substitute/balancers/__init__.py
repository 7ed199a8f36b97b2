"""What decides which instances get new requests."""
