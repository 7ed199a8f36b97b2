"""When an instance is ready, and why it is not; who serves in truth."""
