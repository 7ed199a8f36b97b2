"""How a command on a host went, by what it said and how its connection ended."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from substitute.hosts.errors import (
    LostError,
    NotInstalledError,
    RefusedError,
    SilentHostError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from substitute.hosts.channel import Ended, RemoteHost
    from substitute.hosts.errors import HostError

_NOT_FOUND = 127
_NO_SUCH = "No such command 'obey'"
"""What one says that does not know how it is driven."""
_NO_ROOT = r"\(from -C .*\)|There is no .*substitute\.toml"
_PASSING = re.compile(
    r"kex_exchange_identification|Connection (closed|reset) by|ssh_exchange_identification|Broken pipe"
    r"|mux_client|Control socket"
)
"""What ssh says where the other side has too many connections under way, or a kept connection was dead."""


def event_of(line: str) -> dict[str, Any] | None:
    """The event that `line` is, or the line of a log; None where it is something else, such as what a login prints."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() & {"event", "line"} else None


def document_of(lines: Sequence[str]) -> Any:
    """The JSON document that the lines hold, below what a login may print; None where there is none."""
    begins = [number for number, line in enumerate(lines) if line.startswith(("{", "["))]
    for number in begins:
        try:
            return json.loads("\n".join(lines[number:]))
        except ValueError:
            continue
    return None


def failure(host: RemoteHost, ended: Ended, lines: Sequence[str], *, heard: bool) -> HostError:
    """Why there is no answer. `heard` says whether substitute there had said something."""
    said = _last_lines(ended.said)
    if ended.status is None and heard:
        return LostError(f"The connection to {host.name} was lost.", fact=said)
    if ended.status is None:
        error = UnreachableError(
            f"{host.name} cannot be reached.",
            fact=said or "ssh ended without a word.",
            cure=f"Try `ssh {_typed(host)} true`; it must ask nothing.",
        )
        error.passing = bool(_PASSING.search(ended.said))
        return error
    told = next((one for one in map(event_of, reversed(lines)) if one and one.get("event") == "error"), None)
    return _without(host, ended, told) or _refused(host, ended, told)


def _without(host: RemoteHost, ended: Ended, told: Mapping[str, Any] | None) -> HostError | None:
    """What is missing there, if that is why."""
    reason = str(told["reason"]) if told else ended.said
    if told is None and ended.status == _NOT_FOUND:
        what = f"substitute is not installed on {host.name}."
    elif _NO_SUCH in reason:
        what = f"substitute on {host.name} is too old to be driven from here."
    elif told and re.search(_NO_ROOT, reason):
        what = f"There is no root on {host.name}."
    else:
        return None
    cure = f"`substitute hosts setup --on {host.name}` makes it."
    return NotInstalledError(what, fact=_last_lines(reason), cure=cure)


def _refused(host: RemoteHost, ended: Ended, told: Mapping[str, Any] | None) -> HostError:
    status = ended.status or 0
    if told is None:
        what = f"substitute on {host.name} ended with status {status}."
        return RefusedError(status, what, fact=_last_lines(ended.said))
    return RefusedError(
        int(told.get("exit") or status), str(told["reason"]), cure=str(told.get("cure") or "")
    )


def silent(host: RemoteHost, seconds: float) -> SilentHostError:
    """It is connected, or is still connecting, and says nothing."""
    return SilentHostError(
        f"{host.name} has not answered within {seconds:g}s.",
        cure="It may be overloaded, or cut off. `hosts.answer_timeout` says how long it is waited for.",
    )


def _typed(host: RemoteHost) -> str:
    from substitute.hosts.ssh.command_line import split  # noqa: PLC0415  # only this error needs it

    place, port = split(host.destination)
    return f"-p {port} {place}" if port else place


def _last_lines(text: str, count: int = 3) -> str:
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][-count:])
