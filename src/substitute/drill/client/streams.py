"""Connections that stay. A server may end one properly, and it is opened again; cutting it is a failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from substitute.drill.client.wire import Wire
from substitute.drill.load import LaneName
from substitute.http.answer import Answer
from substitute.http.failures import FailedError, Kind, from_status

if TYPE_CHECKING:
    from substitute.drill.client.reactor import Reactor
    from substitute.drill.client.recorder import Recorder
    from substitute.drill.client.wire import Target
    from substitute.drill.load import Load

_AGAIN = 0.25
"""Seconds until a stream that ended is opened again, as a browser would."""


class Stream:
    """One place for a stream, opened again whenever it ends, until `end`."""

    name: LaneName

    def __init__(self, load: Load, target: Target, reactor: Reactor, recorder: Recorder) -> None:
        self._load = load
        self._target = target
        self._reactor = reactor
        self._recorder = recorder
        self._wire: Wire | None = None
        self._answer: Answer | None = None
        self._version: str | None = None
        self._awaited: float | None = None
        """Since when something must come: the head of the answer, or a pong."""
        self._began = 0.0
        self._opened = False
        self._over = False
        reactor.at(time.monotonic(), self._begin)

    def check_timeouts(self, now: float) -> None:
        """Give up a stream that owes something for too long."""
        if self._awaited is not None and now - self._awaited > self._load.timeout:
            self.broken(FailedError(Kind.TIMEOUT, f"silent for {self._load.timeout:g}s"))

    def end(self) -> None:
        """Leave properly, and do not come back."""
        self._over = True
        if self._wire:
            self.say_goodbye()
            self._close()

    def ended(self) -> None:
        """The server closed the connection."""
        self._wire = None
        try:
            if not (self._opened and self._load.in_waves):
                self.check_end()
        except FailedError as failure:
            self.broken(failure)
        else:
            self._finish()

    def broken(self, failure: FailedError) -> None:
        """It was cut, or could not be opened."""
        self._close()
        self._recorder.failed(self.name, self._began, time.monotonic(), failure, self._version)
        self._reactor.at(time.monotonic() + _AGAIN, self._begin)

    def received(self, data: bytes) -> None:
        """Something came."""
        try:
            self.take(data)
        except FailedError as failure:
            self.broken(failure)

    def take(self, data: bytes) -> None:
        """Understand what came. Raises FailedError for what is wrong."""
        raise NotImplementedError

    def check_end(self) -> None:
        """Raise FailedError where the connection may not be closed now."""
        raise NotImplementedError

    def say_goodbye(self) -> None:
        """Send what is polite before leaving."""

    def extra(self) -> tuple[tuple[str, str], ...]:
        """Headers of the request that opens it."""
        return ()

    def check_head(self, answer: Answer, wanted: int) -> None:
        """See that it was opened. Raises FailedError where it was not."""
        head = answer.head
        if head is None or self._awaited is None:
            return
        if failure := from_status(head.status):
            raise failure
        if head.status != wanted:
            raise FailedError(Kind.BODY, f"status {head.status} where {wanted} opens a stream")
        self._awaited = None
        self._opened = True
        self._version = self._load.version(head) or None
        self._recorder.count(f"{self.name} opened")

    def _begin(self) -> None:
        if self._over:
            return
        self._began = self._awaited = time.monotonic()
        self._version = None
        self._opened = False
        self._recorder.count(f"{self.name} tried")
        try:
            self._wire = Wire(self._reactor, self._target, self)
            self._wire.write(self._load.request(self.name, self.extra()))
        except FailedError as failure:
            self.broken(failure)

    def _finish(self) -> None:
        self._close()
        self._recorder.count(f"{self.name} ended by the server")
        self._reactor.at(time.monotonic() + _AGAIN, self._begin)

    def _close(self) -> None:
        self._awaited = None
        if self._wire:
            self._wire.close()
            self._wire = None


class EventStream(Stream):
    """Server-sent events: an answer that goes on. Its end, where HTTP says one, is proper."""

    name = LaneName.SSE

    def extra(self) -> tuple[tuple[str, str], ...]:
        """What EventSource sends."""
        self._answer = Answer(self._count)
        return (("Accept", "text/event-stream"),)

    def take(self, data: bytes) -> None:
        """Part of the answer."""
        if self._answer and self._answer.feed(data):
            self.check_head(self._answer, 200)
            self._finish()
        elif self._answer:
            self.check_head(self._answer, 200)

    def check_end(self) -> None:
        """Fine where nothing but the end of the connection ends the answer."""
        if self._answer:
            self._answer.end()

    def _count(self, data: bytes) -> None:
        for _ in range(data.count(b"\n\n")):
            self._recorder.count("sse events")
