"""The user's own nginx."""
