"""What HAProxy's runtime API answers, as data."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.names import NEWEST, NOWHERE, OF_LAST, WAIT
from substitute.core.model.slots import Endpoint
from substitute.core.ports.balancer import Traffic
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Key = tuple[str, str]
"""A backend's name and a server's."""


@dataclass(frozen=True)
class ServerState:
    """A row of ``show servers state``."""

    endpoint: Endpoint
    weight: int
    admitted: bool
    """Neither in maintenance nor draining by hand, which no weight undoes."""
    checked: bool = False
    """It is looked at by itself, and does not follow another one."""


@dataclass(frozen=True)
class Look:
    """What came of looking at a server that is checked; see ``show stat``."""

    answers: bool
    """It was looked at, and counts as there. One that was not yet counts as there too, for HAProxy."""
    saw: str
    """In HAProxy's words."""


@dataclass(frozen=True)
class Processes:
    """What ``show proc`` lists."""

    master: int
    reloads: int
    failed: int
    """Reloads that failed since the last that did not."""
    workers: tuple[int, ...]
    old: tuple[int, ...]
    """Workers that a reload replaced and that still have connections."""


@dataclass(frozen=True)
class LeavingWorker:
    """What a worker that leaves does with new requests: its part of ``show info`` and ``show servers state``."""

    leaves: bool
    """It was told to."""
    hands_on: bool
    """It sends new requests to the newest worker; one of the first version serves them by its old weights."""


def servers(answer: str) -> dict[Key, ServerState]:
    """Read ``show servers state``: the servers of the apps, and where their requests wait."""
    found = {}
    for line in answer.splitlines():
        fields = line.split()
        if len(fields) < 19 or not fields[0].isdigit() or not fields[1].startswith("app_"):
            continue
        if (
            fields[18] != "0" or fields[3] == WAIT
        ):  # a unix socket, which leads to HAProxy itself, has no port
            host = fields[17] if fields[17] != "-" else fields[4]  # the name as configured, not what it means
            found[fields[1], fields[3]] = ServerState(
                Endpoint(host, int(fields[18])),
                int(fields[7]),
                admitted=fields[6] == "0",
                checked=fields[13] != "0",
            )
    return found


def traffic(answer: str) -> dict[Endpoint, Traffic]:
    """Read ``show stat`` and ``show servers state`` together: only the latter knows the endpoints for sure."""
    states, rows = servers(answer), list(_rows(answer))
    # A backend counts a 101 when its tunnel ends. How it ended nobody tells: rather too many than too few.
    tunnels = {row["pxname"]: int(row["hrsp_1xx"] or 0) for row in rows if row["svname"] == "BACKEND"}
    found: dict[Endpoint, Traffic] = {}
    for row in rows:
        state = states.get((row["pxname"], row["svname"]))
        if state and state.endpoint != NOWHERE:
            # Slots whose ports were swapped in the configuration have one in common, until the next deployment.
            before = found.get(state.endpoint, Traffic(0, 0, 0, 0))
            found[state.endpoint] = added(
                Traffic(
                    in_flight=int(row["scur"] or 0),
                    requests=int(row["stot"] or 0),
                    # HAProxy 3 counts one that never came twice: rather too many than too few.
                    cut=int(row["eresp"] or 0) + tunnels.get(row["pxname"], 0),
                    share=max(_share(row), before.share or 0),
                    opened=int(row["connect"] or 0),
                    open=int(row["used_conn_cur"] or 0) + _idle(row),
                ),
                before,
            )
    return found


def looks(answer: str) -> dict[Key, Look]:
    """Read ``show stat``: the servers that are looked at."""
    found = {}
    for row in _rows(answer):
        if status := row["check_status"].removeprefix("* "):  # in the middle of the next look
            answered = row["status"].startswith("UP") and status == "L4OK"
            saw = ": ".join(filter(None, (row["check_desc"], row["last_chk"])))
            found[row["pxname"], row["svname"]] = Look(answered, saw or "not looked at yet")
    return found


def in_flight(answer: str) -> int:
    """Read ``show stat`` and ``show servers state`` together: the requests that the apps have."""
    return sum(seen.in_flight for seen in traffic(answer).values())


def _share(row: Mapping[str, str]) -> int:
    """Of new requests: who is asked last for an asset has others besides."""
    return 0 if row["pxname"].endswith(OF_LAST) else int(row["weight"] or 0)


def idle(answer: str) -> dict[Key, Endpoint]:
    """Read ``show stat`` and ``show servers state`` together: the servers to which connections are kept, now unused."""
    states = servers(answer)
    keys = [(row["pxname"], row["svname"]) for row in _rows(answer) if _idle(row)]
    return {key: states[key].endpoint for key in keys if key in states}


def _idle(row: Mapping[str, str]) -> int:
    """Of two kinds, which differ in whether they have served more than one request."""
    return int(row["idle_conn_cur"] or 0) + int(row["safe_conn_cur"] or 0)


def added(now: Traffic, other: Traffic) -> Traffic:
    """All that is known of an endpoint, with the share of `now`."""
    return Traffic(
        now.in_flight + other.in_flight,
        (now.requests or 0) + (other.requests or 0),
        None if now.cut is None or other.cut is None else now.cut + other.cut,
        now.share,
        (now.opened or 0) + (other.opened or 0),
        (now.open or 0) + (other.open or 0),
    )


def _rows(answer: str) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(line.removeprefix("# ") for line in answer.splitlines() if line.count(",") > 30)


def processes(answer: str) -> Processes:
    """Read ``show proc``."""
    master, reloads, failed, section = 0, 0, 0, ""
    workers: list[int] = []
    old: list[int] = []
    for line in answer.splitlines():
        if line.startswith("#"):
            section = line
        elif found := re.match(r"(\d+) +master +(\d+)(?: \[failed: (\d+)\])?", line):
            master, reloads, failed = (int(part or 0) for part in found.groups())
        elif section.startswith(("# workers", "# old workers")) and line.split():
            (old if section.startswith("# old") else workers).append(int(line.split()[0]))
    return Processes(master, reloads, failed, tuple(workers), tuple(old))


def leaving_worker(answer: str) -> LeavingWorker:
    """Read ``show info`` and ``show servers state`` together."""
    return LeavingWorker(
        leaves=bool(re.search(r"^Stopping: 1$", answer, re.MULTILINE)),
        hands_on=bool(re.search(rf"^\d+ {NEWEST} ", answer, re.MULTILINE)),
    )


def map_entries(answer: str) -> dict[str, str]:
    """Read ``show map``."""
    lines = (line.split() for line in answer.splitlines())
    return {fields[1]: fields[2] for fields in lines if len(fields) == 3 and fields[0].startswith("0x")}


def unused_for(answer: str, backend: str) -> int:
    """Seconds since somebody last came to `backend`: ``show info`` and ``show stat``; 0 while somebody is there."""
    up = re.search(r"^Uptime_sec: (\d+)$", answer, re.MULTILINE)
    for row in _rows(answer):
        if row["pxname"] == backend and row["svname"] == "BACKEND":
            last = int(row["lastsess"] or -1)
            return 0 if int(row["scur"] or 0) else last if last >= 0 else int(up[1] if up else 0)
    return 0


def pid(answer: str) -> int | None:
    """Find the worker's pid in ``show info``."""
    found = re.search(r"^Pid: (\d+)$", answer, re.MULTILINE)
    return int(found[1]) if found else None


def description(answer: str) -> str:
    """Find the `description` of the configuration in ``show info``."""
    found = re.search(r"^description: *(.*?) *$", answer, re.MULTILINE)
    return found[1] if found else ""
