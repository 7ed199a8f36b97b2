"""supervisord, one for a root, for machines without systemd."""
