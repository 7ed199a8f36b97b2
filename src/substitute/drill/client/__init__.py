"""The client that puts load on, in a process of its own: strict HTTP/1 that never retries."""
