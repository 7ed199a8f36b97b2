"""The embedded balancer: an HAProxy of the root's own."""
