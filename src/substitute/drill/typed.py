"""From the command's options to values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.drill.client.target import front_door, host_header
from substitute.drill.load import Load
from substitute.drill.run import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AS_THEY_ARE = (
    "method", "body", "expect", "rate", "connections", "timeout", "slow", "upload", "pause",
    "websocket", "sse", "version_header", "insecure",
)  # fmt: skip
_BASELINE = 10.0


def load_for(
    options: Mapping[str, Any], *, kind: str, listen: str, domains: Sequence[str], in_waves: bool = False
) -> Load:
    """The load that was asked for. Raises UsageError where it has nowhere to go."""
    url, path = front_door(kind=kind, listen=listen, url=options["url"])
    headers = tuple(options["headers"])
    if host := host_header(headers, domains, options["url"]):
        headers = (("Host", host), *headers)
    return Load(
        url=url,
        path=options["path"] or path,
        headers=headers,
        new=options["new"] / 100,
        in_waves=in_waves,
        **{name: options[name] for name in _AS_THEY_ARE},
    )


def timing_for(options: Mapping[str, Any], *, baseline: bool) -> Timing:
    """How long it lasts."""
    given = options["duration"]
    return Timing(options["before"], options["after"], given or (_BASELINE if baseline else 0.0))
