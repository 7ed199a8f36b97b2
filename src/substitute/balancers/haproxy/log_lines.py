"""Lines of HAProxy's log, read.

One line for each request of a client. A request that came in twice has two lines in HAProxy, and one of them is passed
over: the one that names HAProxy itself as its server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.log_format import CHOSEN, HOST, LONGEST, NEW
from substitute.balancers.haproxy.names import KEPT
from substitute.core.model.slots import SlotName
from substitute.core.ports.access_log import CUT, Answered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE = re.compile(
    r"(?P<at>\d+) (?P<by>.). (?P<status>-?\d+) (?P<retries>\+?\d+) (?P<connect>-?\d+) (?P<answer>-?\d+) (?P<all>\d+)"
    rf" app_(?P<app>[^_ ]+?)(?:{KEPT})? (?P<server>[ab]\d+|<NOSRV>) (?P<client>-?\d+|-)"
    r"(?: (?P<mark>[a-z]+|-))?"  # not in those of a HAProxy that an earlier release has configured
    r" \{(?P<host>[^|}]*)\|(?P<scheme>[^|}]*)\} (?P<method>\S+) ?(?P<path>.*)"
)
_ENCODED = re.compile("#(22|23|7B|7C|7D)")
"""Printable ASCII that HAProxy writes by its number: ``"#{|}``."""
_BY_THE_SERVER = frozenset("Ss")
"""It refused or broke the connection, or did not answer in time (HAProxy's manual, 8.5)."""
_TUNNEL = 101
"""How a tunnel should end HAProxy does not know: either side may close it."""


def read(lines: Iterable[str], app: str) -> Iterator[Answered]:
    """Those of `app` that an instance was to answer. What is no line of ours is passed over."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found and found["app"] == app:
            yield _answered(found, whole=len(line.encode()) < LONGEST - 1)


def _answered(found: re.Match[str], *, whole: bool) -> Answered:
    status, server = int(found["status"]), found["server"]
    host, path = _plain(found["host"]), _plain(found["path"])
    return Answered(
        app=found["app"],
        slot=None if server.startswith("<") else SlotName(server[0]),
        method=found["method"] if not found["method"].startswith("<") else "",
        path=path if whole else path + CUT,
        host=host if len(host) < HOST else host + CUT,
        scheme=found["scheme"],
        status=status,
        broken=found["by"] in _BY_THE_SERVER and status != _TUNNEL,
        seconds=_milliseconds(found) / 1000,
        client=None if found["client"] == "-" else found["client"],
        at=int(found["at"]) / 1000,
        chosen=found["mark"] == CHOSEN,
        new=found["mark"] == NEW,
    )


def _milliseconds(found: re.Match[str]) -> int:
    answer, connect = int(found["answer"]), int(found["connect"])
    if answer < 0:
        return int(found["all"])
    # One that was sent to another server waited for the first, and that is not the second one's time.
    return answer if found["retries"].startswith("+") else answer + max(connect, 0)


def _plain(text: str) -> str:
    return _ENCODED.sub(lambda code: chr(int(code[1], 16)), text)
