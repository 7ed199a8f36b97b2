"""The user's own Traefik."""
