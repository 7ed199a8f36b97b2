"""Where the load goes: the balancer's own address, or the URL that was named."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from substitute.core.model.errors import UsageError
from substitute.http.exchange import is_target

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  read, not bound


def front_door(*, kind: str, listen: str, url: str | None) -> tuple[str, str]:
    """Return scheme, host and port, and the path, that the load goes to.

    Only the embedded balancer says where it listens; for the others `url` must. Raises UsageError.
    """
    if url is None:
        if kind != "haproxy":
            raise UsageError(
                f"The address of your balancer is not known (balancer.kind is {kind!r}).",
                cure="Name its address: --url http://127.0.0.1:80",
            )
        host, _, port = listen.rpartition(":")
        return f"http://{_EVERYWHERE.get(host, host)}:{port}", "/"
    parts = urlsplit(url)
    try:
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        sound = False
    if not sound or parts.username or not is_target(f"/{url}"):
        raise UsageError(
            f"--url {url!r} is no address.", cure="As http://127.0.0.1:8080 or https://shop.example.com"
        )
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + query


def host_header(headers: Sequence[tuple[str, str]], domains: Sequence[str], url: str | None) -> str | None:
    """The Host that makes the embedded balancer choose the app, where nobody has named one."""
    named = url is not None or any(name.lower() == "host" for name, _ in headers)
    return None if named or not domains else domains[0]
