"""The table ``[balancer]``, as far as HAProxy needs it."""

from __future__ import annotations

from substitute.values import dataclass


@dataclass(frozen=True)
class Settings:
    """See `config.models.balancer`. Times are seconds."""

    listen: str
    binary: str | None
    client_timeout: float
    server_timeout: float
    trusted_proxies: tuple[str, ...]
    keep_connections: bool = True
    """Connections to the apps are kept for more requests, where these may be repeated."""
