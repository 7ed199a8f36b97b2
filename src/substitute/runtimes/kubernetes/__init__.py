"""Kubernetes: a cluster keeps the instances of a slot, wherever it chooses."""
