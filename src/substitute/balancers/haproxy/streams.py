"""WebSockets and event streams: which there are, and how one is ended.

HAProxy calls a stream by its address in memory, and another one may have that address a moment later. So each is looked
at again just before it is ended, in the same connection: some 30 µs lie between. HAProxy has no command that does both.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import answers, leaving
from substitute.balancers.haproxy.names import STREAM_MARK
from substitute.balancers.haproxy.socket import Silent, conversation
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from substitute.core.model.slots import Endpoint

_SHOWN = re.compile(
    r"^(?P<address>0x[0-9a-f]+): \[.*? id=(?P<number>\d+) .*?"
    r"^  backend=(?P<backend>\S+) .*?^  server=(?P<server>\S+) .*? nice=(?P<nice>-?\d+) ",
    re.MULTILINE | re.DOTALL,
)
_NEXT = re.compile(r"\n(?=0x)")


@dataclass(frozen=True)
class Stream:
    """A stream of a worker."""

    socket: str
    """The master's socket that its worker is asked through."""
    worker: int
    """The pid."""
    address: str
    number: str
    """No two streams of a worker have the same."""

    def __str__(self) -> str:
        return f"{self.socket} {self.worker} {self.address} {self.number}"

    @classmethod
    def read(cls, text: str) -> Stream:
        """Read what `str` made."""
        socket, worker, address, number = text.split()
        return cls(socket, int(worker), address, number)


def found(run_directory: Path, endpoints: Collection[Endpoint]) -> list[Stream]:
    """Those that `endpoints` have, the longest open first. Raises `Silent`."""
    streams = []
    newest, left = leaving.workers(run_directory)
    for worker in (newest, *left):
        servers = answers.servers(worker.ask(run_directory, "show servers state"))
        keys = {key for key, server in servers.items() if server.endpoint in endpoints}
        shown = worker.ask(run_directory, "show sess all") if keys else ""
        streams += [
            Stream(worker.socket, worker.pid, one["address"], one["number"])
            for one in map(_SHOWN.match, _NEXT.split(shown))
            if one and (one["backend"], one["server"]) in keys and _is_marked(one)
        ]
    return sorted(streams, key=lambda one: (one.worker, int(one.number)))


def end(run_directory: Path, streams: Iterable[Stream]) -> int:
    """End those that are still there, each by the worker that has it: how many. Never raises."""
    ended = 0
    for (socket, worker), ones in groupby(streams, lambda one: (one.socket, one.worker)):
        with suppress(Silent), conversation(run_directory, socket, worker) as ask:
            for one in ones:
                shown = _SHOWN.match(ask(f"show sess {one.address}").lstrip())
                if shown and shown["number"] == one.number and _is_marked(shown):
                    ask(f"shutdown session {one.address}")
                    ended += 1
    return ended


def _is_marked(shown: re.Match[str]) -> bool:
    return int(shown["nice"]) == STREAM_MARK
