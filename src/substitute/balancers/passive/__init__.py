"""A balancer that cannot be configured: the kernel moves its traffic."""
