"""What HAProxy has answered: from the memory of its newest worker, and of those that leave."""

from __future__ import annotations

import re
import select
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import answers, leaving, log_lines
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.names import RING
from substitute.balancers.haproxy.socket import Absent, Silent
from substitute.core.model.errors import UnobservedError
from substitute.values import dataclass

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy.leaving import Worker
    from substitute.core.ports.access_log import Answered

_WHO, _SHOW = "show info", f"show events {RING}"
_FIRST_WORD = 2.0
"""Seconds for a worker to say who it is."""
_LOOK = 1.0
"""Seconds between two looks at which workers there are."""


@dataclass(frozen=True)
class AccessLog:
    """See `core.ports.access_log.AccessLog`."""

    run_directory: Path
    app: str

    def recent(self) -> Sequence[Answered]:
        """Of all workers, in the order in which they ended."""
        try:
            newest, left = leaving.workers(self.run_directory)
            # With it something is said by one whose memory is empty, or that has none.
            said = [worker.ask(self.run_directory, _WHO, _SHOW) for worker in (*left, newest)]
        except Absent:
            return []
        except Silent as silent:
            raise UnobservedError("HAProxy does not say what it has answered.", fact=str(silent)) from silent
        found = (one for text in said for one in log_lines.read(text.splitlines(), self.app))
        return sorted(found, key=lambda one: one.at)

    @contextmanager
    def follow(self) -> Iterator[Following]:
        """From the newest worker on."""
        following = Following(self.run_directory, self.app)
        try:
            following.take(0)
            yield following
        finally:
            following.close()


class Following:
    """See `core.ports.access_log.Answers`.

    Each worker is listened to, since the one before still answers what it has. A worker to which a connection is open
    does not end, so one that leaves is let go when it has nothing left.
    """

    def __init__(self, run_directory: Path, app: str) -> None:
        self._run = run_directory
        self._app = app
        self._heard: dict[int, _Ear] = {}
        self._ever: set[int] = set()
        """Workers that were listened to: HAProxy closes a connection on which nothing was said for 10 s."""
        self._known: int | None = None
        """The newest worker, when it was last looked."""
        self._looked = 0.0

    def take(self, seconds: float) -> Sequence[Answered]:
        """What came, and comes in that time."""
        until = time.monotonic() + seconds
        found: list[Answered] = []
        while True:
            if time.monotonic() >= self._looked + _LOOK or self._known not in self._heard:
                self._look()
            found += self._hear(max(0.0, min(until, self._looked + _LOOK) - time.monotonic()))
            if time.monotonic() >= until:
                return found

    def close(self) -> None:
        """Close the connections to all workers."""
        for ear in self._heard.values():
            ear.close()
        self._heard.clear()

    def _look(self) -> None:
        """Listen to the newest worker too, and let those go that have nothing left."""
        self._looked = time.monotonic()
        with suppress(Silent):
            newest, left = leaving.workers(self._run)
            if newest.pid not in self._heard:
                self._listen(newest.pid)
            self._known = newest.pid
            for worker in left:
                if worker.pid in self._heard:
                    self._heard[worker.pid].is_idle = self._is_idle(worker, self._heard[worker.pid])

    def _listen(self, pid: int) -> None:
        # All that a later worker remembers came after the beginning. What any other remembers may be years old, and of
        # another version that was in the slot.
        since = " -n" if self._known is None or pid in self._ever else ""
        ear = _Ear(api.line(self._run, f"{_WHO};{_SHOW} -w{since}", _FIRST_WORD))
        if ear.pid == pid:
            self._heard[pid] = ear
            self._ever.add(pid)
        else:  # in a reload the one before may take the connection
            ear.close()

    def _is_idle(self, worker: Worker, ear: _Ear) -> bool:
        """Whether it had nothing in flight at two looks: in the first it may yet have had a line to write."""
        in_flight = answers.in_flight(worker.ask(self._run, *leaving.COUNTED))
        if ear.is_idle and not in_flight:
            ear.is_over = True
        return not in_flight

    def _hear(self, seconds: float) -> Iterator[Answered]:
        ears = self._heard.values()
        waits = 0.0 if any(ear.has_lines for ear in ears) else seconds
        ready, _, _ = select.select([ear.line for ear in ears], [], [], waits)
        for pid, ear in list(self._heard.items()):
            if ear.line in ready:
                ear.read()
            elif ear.is_over:
                ear.is_closed = True
            yield from log_lines.read(ear.lines(), self._app)
            if ear.is_closed:
                ear.close()
                del self._heard[pid]


class _Ear:
    """A connection to one worker, which writes there what it answers."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.is_idle = self.is_over = self.is_closed = False
        self._buffer = ""
        self.pid = self._who()

    def read(self) -> None:
        """Read what is there; at its end it is closed."""
        try:
            data = self.line.recv(1 << 20)
        except OSError:
            data = b""
        self.is_closed = not data
        self._buffer += data.decode(errors="replace")

    @property
    def has_lines(self) -> bool:
        """Whether whole lines were read that nobody took."""
        return "\n" in self._buffer

    def lines(self) -> list[str]:
        """Take them."""
        *lines, self._buffer = self._buffer.split("\n")
        return lines

    def close(self) -> None:
        """It is not heard any more."""
        self.line.close()

    def _who(self) -> int | None:
        """Read the number of its process; what follows stays in the buffer."""
        while not (found := re.search(r"^Pid: (\d+)\n", self._buffer, re.MULTILINE)):
            self.read()
            if self.is_closed:
                return None
        return int(found[1])
