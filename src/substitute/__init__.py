"""Zero-downtime deployment for people who run web apps on their own servers."""

__version__ = "0.1.0"
