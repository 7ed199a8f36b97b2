"""The argument lists of ssh. Nothing is run here."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATH_THERE = 'PATH="$PATH:$HOME/.local/bin:/usr/local/bin"; export PATH'
"""A command over ssh has a shorter PATH than a login. What is found there first stays first."""
_FIND = f'{PATH_THERE}; exec substitute "$@"'
_KEPT = "60"
"""Seconds that a connection stays when nothing uses it."""
_LONGEST_PATH = 108 - 1 - 40 - 18
"""Characters of a directory in which ssh can make the socket of a connection, whose name is a hash and some more."""


def ssh_command(
    destination: str,
    remote: str,
    *,
    connect_timeout: float,
    config: Path | None = None,
    sockets: Path | None = None,
    terminal: bool = False,
) -> list[str]:
    """What runs the line `remote` at `destination`. In `sockets` its connection is kept for the next command.

    ssh asks nothing: several run at once, and their questions would mix. A connection that is dead is noticed within
    15 seconds. With `terminal` the line has one there, which is the one here.
    """
    place, port = split(destination)
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(max(1, round(connect_timeout))),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
        "RemoteCommand": "none",
        "ClearAllForwardings": "yes",  # those of the user's are for his own sessions
        "PermitLocalCommand": "no",
    }
    if sockets and len(str(sockets)) < _LONGEST_PATH:
        options |= {"ControlMaster": "auto", "ControlPersist": _KEPT, "ControlPath": f"{sockets}/%C"}
    return [
        "ssh",
        *(["-F", str(config)] if config else []),
        *(["-p", port] if port else []),
        "-t" if terminal else "-T",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        "--",
        place,
        remote,
    ]


def split(destination: str) -> tuple[str, str]:
    """``USER@HOST`` and the port, or empty; without the brackets of IPv6."""
    user, at, host = destination.rpartition("@")
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        return f"{user}{at}{host}", port.removeprefix(":")
    host, _, port = host.partition(":")
    return f"{user}{at}{host}", port


def substitute_line(words: Sequence[str]) -> str:
    """The line that runs `substitute WORDS`, for whatever shell the user has there."""
    return script_line(_FIND, words)


def script_line(script: str, words: Sequence[str]) -> str:
    """The line that runs a script for sh, for whatever shell the user has there."""
    return shlex.join(["exec", "/bin/sh", "-c", script, "substitute", *words])
