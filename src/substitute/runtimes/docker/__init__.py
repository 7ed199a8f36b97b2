"""Docker: a container for each program that has an image, kept by dockerd."""
