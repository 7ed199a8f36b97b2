"""Versions that are images of a registry."""
