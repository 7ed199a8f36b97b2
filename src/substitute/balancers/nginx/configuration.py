"""The one file that nginx includes, as text: what, not how."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from substitute.core.ports.balancer import Backend, Server

_SERVER = re.compile(
    r"^ +server (?:\[(?P<ip6>[^\]]+)\]|(?P<host>[^:;\s]+)):(?P<port>\d+)(?P<rest>[^;]*);$", re.MULTILINE
)
_WEIGHT = re.compile(r" weight=(\d+)")


def render(backends: Sequence[Backend]) -> str:
    """An upstream for each app, under its name. An nginx that (re)starts with it serves by the shares in `backends`."""
    lines = ["# Written by substitute; it is replaced at every switch. Include it in nginx's `http` block."]
    for backend in backends:
        lines += _upstream(backend)
    return "\n".join(lines) + "\n"


def shares(text: str) -> Mapping[Endpoint, int]:
    """The share of each endpoint in a text that `render` made."""
    return {
        Endpoint(found["ip6"] or found["host"], int(found["port"])): _weight(found["rest"])
        for found in _SERVER.finditer(text)
    }


def _upstream(backend: Backend) -> Iterator[str]:
    yield f"upstream {backend.app} {{"
    for server in backend.servers:
        yield f"    server {server.endpoint} {_parameters(server)};"
    # An idle connection to an app may be closed by it just when a request is sent, and a POST may not be tried
    # again: so none is kept, which nginx does by itself from 1.29.7 on. `keepalive 0` is refused by older ones.
    yield "    keepalive_requests 1;"
    yield "}"


def _parameters(server: Server) -> str:
    # One failure of the only server would otherwise cost every request for ten seconds.
    weight = f"weight={server.share}" if server.share else "down"
    return f"{weight} max_fails=0"


def _weight(parameters: str) -> int:
    found = _WEIGHT.match(parameters)
    return int(found[1]) if found else 0
