"""What HAProxy's runtime API answers, as data."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from substitute.core.ports import Traffic
from substitute.core.slots import Endpoint

Key = tuple[str, str]
"""A backend's name and a server's."""


@dataclass(frozen=True)
class ServerState:
    """A row of ``show servers state``."""

    endpoint: Endpoint
    weight: int
    admitted: bool
    """Neither in maintenance nor draining by hand, which no weight undoes."""


@dataclass(frozen=True)
class Processes:
    """What ``show proc`` lists."""

    master: int
    reloads: int
    failed: int
    """Reloads that failed since the last that did not."""
    old: tuple[int, ...]
    """Workers that a reload replaced and that still have connections."""


def servers(answer: str) -> dict[Key, ServerState]:
    """Read ``show servers state``."""
    found = {}
    for line in answer.splitlines():
        fields = line.split()
        if len(fields) > 18 and fields[0].isdigit():
            host = fields[17] if fields[17] != "-" else fields[4]  # the name as configured, not what it means
            found[fields[1], fields[3]] = ServerState(
                Endpoint(host, int(fields[18])), int(fields[7]), admitted=fields[6] == "0"
            )
    return found


def traffic(answer: str) -> dict[Endpoint, Traffic]:
    """Read ``show stat`` and ``show servers state`` together: only the latter knows the endpoints for sure."""
    states, found = servers(answer), {}
    for row in csv.DictReader(
        line.removeprefix("# ") for line in answer.splitlines() if line.count(",") > 30
    ):
        if state := states.get((row["pxname"], row["svname"])):
            found[state.endpoint] = Traffic(
                in_flight=int(row["scur"] or 0),
                requests=int(row["stot"] or 0),
                failures=sum(int(row[column] or 0) for column in ("hrsp_5xx", "econ", "eresp")),
                share=int(row["weight"] or 0),
            )
    return found


def processes(answer: str) -> Processes:
    """Read ``show proc``."""
    master, reloads, failed, old, section = 0, 0, 0, [], ""
    for line in answer.splitlines():
        if line.startswith("#"):
            section = line
        elif found := re.match(r"(\d+) +master +(\d+)(?: \[failed: (\d+)\])?", line):
            master, reloads, failed = (int(part or 0) for part in found.groups())
        elif section.startswith("# old workers") and line.split():
            old.append(int(line.split()[0]))
    return Processes(master, reloads, failed, tuple(old))


def description(answer: str) -> str:
    """Find the `description` of the configuration in ``show info``."""
    found = re.search(r"^description: *(.*?) *$", answer, re.MULTILINE)
    return found[1] if found else ""
