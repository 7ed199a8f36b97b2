"""OpenSSH, with the user's own configuration."""
