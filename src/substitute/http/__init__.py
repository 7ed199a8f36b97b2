"""HTTP/1.1 as a client that forgives nothing: answers read as they come, and one exchange over a socket."""
