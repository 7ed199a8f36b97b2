"""Requests and answers: a lane sends them at its pace over its connections, and never one of them twice."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from substitute.drill.client.recorder import STATUS
from substitute.drill.client.schedule import Schedule
from substitute.drill.client.wire import Wire
from substitute.drill.load import PACED, LaneName
from substitute.http.answer import Answer
from substitute.http.failures import FailedError, Kind, from_status

if TYPE_CHECKING:
    from substitute.drill.client.reactor import Reactor
    from substitute.drill.client.recorder import Recorder
    from substitute.drill.client.wire import Target
    from substitute.drill.load import Load

_BREATH = 0.1
"""Seconds between two beginnings on one connection of a lane without a rate, lest a failure become a spin."""


class Client:
    """One place for a connection; one request at a time."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._wire: Wire | None = None
        self._answer: Answer | None = None
        self._body = bytearray()
        self._version: str | None = None
        self._owes = False
        """The second half of the request was not sent yet."""
        self.intended = 0.0

    def ask(self, intended: float) -> None:
        """Send the request that was meant to be sent at `intended`."""
        lane = self._lane
        self.intended = intended
        self._owes = False
        self._body.clear()
        keep = self._body.extend if lane.expect else None
        self._answer = Answer(keep, bodiless=lane.bodiless)
        try:
            if self._wire is None:
                self._version = None
                self._wire = Wire(lane.reactor, lane.target, self)
            self._wire.write(lane.first)
        except FailedError as failure:
            self.broken(failure)
            return
        if lane.second and self._answer:
            self._owes = True
            self._promise(self._answer)

    def received(self, data: bytes) -> None:
        """Part of the answer."""
        if self._answer is None:  # nobody asked (408, say): as good as closed, and no request was hurt
            self._close_idle()
            return
        try:
            if self._answer.feed(data):
                self._finish(self._answer)
        except FailedError as failure:
            self.broken(failure)

    def ended(self) -> None:
        """The server closed the connection: its right while it is idle, and a failure before the whole answer."""
        if self._answer is None:
            self._close_idle()
            return
        try:
            self._answer.end()
            self._finish(self._answer, reusable=False)
        except FailedError as failure:
            self.broken(failure)

    def broken(self, failure: FailedError) -> None:
        """The request failed, and the connection with it."""
        if self._answer is None:
            self._close_idle()
            return
        self._answer = None
        self.close()
        self._lane.done(self, failure, self._version)

    def give_up(self, patience: float) -> None:
        """No answer came in time."""
        self.broken(FailedError(Kind.TIMEOUT, f"no whole answer within {patience:g}s"))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._wire:
            self._wire.close()
            self._wire = None

    def _finish(self, answer: Answer, *, reusable: bool = True) -> None:
        lane, head = self._lane, answer.head
        if head is None:  # not before its head
            return
        lane.recorder.count(f"{STATUS}{head.status}")
        version = lane.version(head)
        failure = from_status(head.status)
        if failure is None and lane.expect and lane.expect not in self._body:
            failure = FailedError(Kind.BODY, f"not what was expected: {bytes(self._body[:80])!r}")
        if failure and version:
            self._version = version
        self._answer = None
        if head.last or self._owes or not (reusable and lane.keeps_alive):
            self.close()
        lane.done(self, failure, version if failure is None else self._version)
        if failure is None:
            self._version = version

    def _promise(self, answer: Answer) -> None:
        """Send the second half of the body later, if this is still the same request."""

        def send() -> None:
            if self._answer is answer and self._wire:
                self._owes = False
                self._wire.write(self._lane.second)

        self._lane.reactor.at(time.monotonic() + self._lane.pause, send)

    def _close_idle(self) -> None:
        self.close()
        self._lane.recorder.count("idle connections closed by the server")


class Lane:
    """One kind of request on its own connections: at `rate` a second, or without pause where that is None."""

    def __init__(
        self,
        name: LaneName,
        load: Load,
        target: Target,
        reactor: Reactor,
        recorder: Recorder,
        *,
        connections: int,
        rate: float | None = None,
    ) -> None:
        self.name = name
        self.target = target
        self.reactor = reactor
        self.recorder = recorder
        self.keeps_alive = name is not LaneName.NEW
        self.expect = load.expect.encode() if name in PACED else b""
        self.bodiless = load.method == "HEAD" and name is not LaneName.UPLOAD
        self.version = load.version
        self.pause = load.pause
        request = load.request(name)
        half = len(request) - (len(request) - request.index(b"\r\n\r\n") - 4) // 2
        self.first, self.second = (
            (request[:half], request[half:]) if name is LaneName.UPLOAD else (request, b"")
        )
        self._patience = load.timeout
        self._free = deque(Client(self) for _ in range(connections))
        self._busy: set[Client] = set()
        self._waiting: deque[float] = deque()
        self._schedule = Schedule(time.monotonic(), rate) if rate else None
        self._ended = False

    @property
    def next(self) -> float:
        """When it wants to be driven again."""
        if self._schedule and not self._ended:
            return self._schedule.next
        return float("inf")

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waiting."""
        return not self._busy and not self._waiting

    def drive(self, now: float) -> None:
        """Send what is due, on the connections that are free: the one that rested longest first."""
        if not self._ended:
            self._fill(now)
        while self._free and self._waiting:
            client = self._free.popleft()
            self._busy.add(client)
            client.ask(self._waiting.popleft())

    def done(self, client: Client, failure: FailedError | None, version: str | None) -> None:
        """A request of `client` came to its end."""
        now = time.monotonic()
        if failure:
            self.recorder.failed(self.name, client.intended, now, failure, version)
        else:
            self.recorder.answered(self.name, client.intended, now, version or "")
        self._busy.discard(client)
        if self._schedule:
            self._free.append(client)
        else:
            self.reactor.at(max(now, client.intended + _BREATH), lambda: self._free.append(client))

    def check_timeouts(self, now: float) -> None:
        """Give up what takes too long."""
        for client in [one for one in self._busy if now - one.intended > self._patience]:
            client.give_up(self._patience)
        while self._waiting and now - self._waiting[0] > self._patience:
            never_sent = FailedError(Kind.TIMEOUT, f"no connection became free within {self._patience:g}s")
            self.recorder.failed(self.name, self._waiting.popleft(), now, never_sent)

    def end(self) -> None:
        """Begin no further request."""
        self._ended = True

    def close(self) -> None:
        """Close all connections."""
        for client in (*self._free, *self._busy):
            client.close()

    def _fill(self, now: float) -> None:
        if self._schedule is None:
            self._waiting.extend([now] * len(self._free))
            return
        due = self._schedule.due(now)
        if due:
            self.recorder.late(now - due[0])
            self._waiting.extend(due)
