"""``check``: whether an app obeys SIGTERM as zero downtime asks for."""
