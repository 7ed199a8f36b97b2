"""What happened to each request, and when the operation did what."""
