"""What containers write, read from dockerd: across the lives of a container, and across containers of one name."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from substitute.http.answer import Answer
from substitute.http.exchange import hear
from substitute.http.failures import FailedError
from substitute.io.lines import Lines
from substitute.runtimes.docker.api import Absent, Refused, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from substitute.runtimes.docker.api import Api

_HEADER = 8
"""Bytes before each piece: whether it is of the standard error, three of nothing, and its length."""
_SECOND = 1_000_000_000
_DIGITS = 9
"""Of a fraction of a second, in nanoseconds."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")
_LAG = 0.5
"""Seconds that the last lines of a container that ended may take to arrive."""
_BOTH = {"stdout": True, "stderr": True, "timestamps": True}


def now() -> int:
    """Nanoseconds since the epoch, as dockerd's times are."""
    return time.time_ns()


def last(api: Api, container: str, count: int, *, until: int | None = None) -> list[str]:
    """The last `count` lines of the container with this id. Raises as the API does."""
    bound = {} if until is None else {"until": _seconds(until)}
    data = api.get(f"/containers/{container}/logs", **_BOTH, tail=str(count), **bound)
    pieces = _Pieces()
    pieces.feed(data)
    pieces.close()
    return pieces.taken()[-count:] if count else []


class Written:
    """The lines of whatever container has a name, from a moment on, each once (see `core.ports.runtime.Log`)."""

    def __init__(self, api: Api, look: Callable[[], Mapping[str, Any] | None], since: int) -> None:
        """`look` gives what dockerd tells of the container that has the name now."""
        self._api = api
        self._look = look
        self._since = since
        self._pieces = _Pieces()
        self._stream: _Stream | None = None
        self._read: tuple[str, str] | None = None
        self.is_there = False
        """Whether there is a container of the name, as far as was seen."""

    def lines(self, *, ended: bool = False) -> list[str]:
        """What came since the previous call."""
        deadline = time.monotonic() + (_LAG if ended else 0.0)
        with suppress(Absent, Silent, Refused):
            while self._opened() and self._stream:
                if self._stream.read(deadline):
                    self._since = max(self._since, self._pieces.latest + 1)
                    self._stream = None
                    self._pieces.close()
                elif time.monotonic() >= deadline:
                    break
        return self._pieces.taken()

    def _opened(self) -> bool:
        """Have a stream, unless the container's last life was read to its end: a stream ends with each."""
        if self._stream:
            return True
        found = self._look()
        self.is_there = found is not None
        if found is None or (life := (found["Id"], found["State"]["StartedAt"])) == self._read:
            return False
        self._read = life
        self._stream = _Stream(self._api, found["Id"], self._since, self._pieces)
        return True


class _Stream:
    """The log of one container while it is written, until its end."""

    def __init__(self, api: Api, container: str, since: int, pieces: _Pieces) -> None:
        self._answer = Answer(pieces.feed)
        path = f"/containers/{container}/logs"
        self._connection = api.begin(path, **_BOTH, follow=True, since=_seconds(since))

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be made
            self._connection.close()

    def read(self, deadline: float) -> bool:
        """Take what is there, and what comes before `deadline`; whether that was the last of it."""
        try:
            while not hear(self._connection, self._answer, deadline):
                pass
        except TimeoutError:
            return False
        except (OSError, FailedError):  # dockerd ended
            return True
        return True


class _Pieces:
    """Cuts dockerd's stream into pieces, and what they hold into lines."""

    def __init__(self) -> None:
        self.latest = 0
        """When the latest was written."""
        self._buffer = b""
        self._lines: list[str] = []
        self._by_output: dict[int, Lines] = {}

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(self._buffer[4:_HEADER], "big")
            if len(self._buffer) < end:
                return
            output, piece = self._buffer[0], self._buffer[_HEADER:end]
            self._buffer = self._buffer[end:]
            written, _, text = piece.partition(b" ")
            self.latest = max(self.latest, nanoseconds(written))
            self._by_output.setdefault(output, Lines(self._lines.append)).feed(text)

    def close(self) -> None:
        """The stream is over: what it left in the middle belongs to no later one."""
        self._buffer = b""
        for lines in self._by_output.values():
            lines.close()
        self._by_output.clear()

    def taken(self) -> list[str]:
        """The whole lines since the previous call."""
        found, self._lines[:] = list(self._lines), []
        return found


def nanoseconds(text: bytes) -> int:
    """Of ``2026-01-02T03:04:05.000000006Z``, or with an offset: dockerd's log driver `local` had local time once.

    Raises ValueError for what is no such time.
    """
    found = _TIME.fullmatch(text.decode("ascii", errors="replace"))
    if found is None:
        raise ValueError(text)
    seconds, fraction, offset = found.groups(default="")
    moment = datetime.fromisoformat(seconds + offset.upper().replace("Z", "+00:00"))
    return int(moment.timestamp()) * _SECOND + int(fraction[:_DIGITS].ljust(_DIGITS, "0"))


def _seconds(nanoseconds: int) -> str:
    """As the API takes a time."""
    return f"{nanoseconds // _SECOND}.{nanoseconds % _SECOND:09d}"
