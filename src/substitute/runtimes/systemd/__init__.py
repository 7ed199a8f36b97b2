"""systemd: units in the system's manager, or in a user's own."""
