"""Podman: a container is a program of the runtime beside it, which executes `podman run`."""
