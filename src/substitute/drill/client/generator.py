"""The process that puts the load on, so that it and the deployer do not slow each other.

It is given a socket: a line of JSON says which load, lines of JSON tell what happened, and when the other side
sends a byte, or is gone, the load ends: requests under way get their answers, and the last line is told.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from substitute.drill.client.connections import Lane
from substitute.drill.client.reactor import READ, Reactor
from substitute.drill.client.recorder import Recorder
from substitute.drill.client.streams import EventStream, Stream
from substitute.drill.client.websocket import WebSocket
from substitute.drill.client.wire import Target
from substitute.drill.load import LaneName, Load

_BATCH = 0.1
_SWEEP = 0.05


class Generator:
    """A load, put on until `stop`."""

    def __init__(self, load: Load) -> None:
        """Look up where it goes. Raises OSError where there is no such host."""
        self.reactor = Reactor()
        self.recorder = Recorder()
        target = Target.of(load)
        self.began = time.monotonic()
        common: tuple[Any, ...] = (load, target, self.reactor, self.recorder)
        self._lanes = [
            Lane(name, *common, connections=connections, rate=rate)
            for name, connections, rate in _paced(load)
        ]
        for name, path in ((LaneName.SLOW, load.slow), (LaneName.UPLOAD, load.upload)):
            if path is not None:
                self._lanes.append(Lane(name, *common, connections=load.beside))
        kinds: tuple[tuple[str | None, type[Stream]], ...] = (
            (load.websocket, WebSocket),
            (load.sse, EventStream),
        )
        self._streams = [
            kind(*common) for path, kind in kinds if path is not None for _ in range(load.beside)
        ]
        self._all: list[Lane | Stream] = [*self._lanes, *self._streams]
        self._ending = False

    @property
    def finished(self) -> bool:
        """Whether it was stopped and nothing is under way any more."""
        return self._ending and all(lane.idle for lane in self._lanes)

    def turn(self, until: float) -> None:
        """Go on for a moment, not past `until`."""
        now = time.monotonic()
        for lane in self._lanes:
            lane.drive(now)
        self.reactor.turn(min([until, *(lane.next for lane in self._lanes)]))

    def check_timeouts(self) -> None:
        """Give up what takes too long."""
        now = time.monotonic()
        for one in self._all:
            one.check_timeouts(now)

    def stop(self) -> None:
        """Begin nothing any more."""
        if not self._ending:
            self._ending = True
            for one in self._all:
                one.end()

    def close(self) -> None:
        """Close everything."""
        for lane in self._lanes:
            lane.close()
        self.reactor.close()


def _paced(load: Load) -> list[tuple[LaneName, int, float]]:
    """The paced lanes: name, connections, rate. Each that has a share has at least one connection."""
    fresh = round(load.connections * load.new)
    fresh = max(1, min(load.connections - 1, fresh)) if 0 < load.new < 1 else fresh
    shares = ((LaneName.KEEP_ALIVE, load.connections - fresh, 1 - load.new), (LaneName.NEW, fresh, load.new))
    return [(name, max(1, connections), load.rate * share) for name, connections, share in shares if share]


def serve(control: socket.socket) -> None:
    """Put on the load that the other side of `control` asks for."""
    with control.makefile("rb") as asked:
        load = Load.from_json(asked.readline())
    generator = Generator(load)

    def stop(_events: int) -> None:
        generator.reactor.forget(control.fileno())
        with suppress(OSError):
            control.recv(64)  # or its closing would be a reset, and what was told last be lost
        generator.stop()

    generator.reactor.watch(control.fileno(), READ, stop)
    tell_at = sweep_at = time.monotonic()
    while not generator.finished:
        generator.turn(min(tell_at, sweep_at))
        now = time.monotonic()
        if now >= sweep_at:
            generator.check_timeouts()
            sweep_at = now + _SWEEP
        if now >= tell_at:
            _tell(control, generator)
            tell_at = now + _BATCH
    _tell(control, generator)
    generator.close()


def _tell(control: socket.socket, generator: Generator) -> None:
    batch = {**generator.recorder.take(), "began": generator.began, "now": time.monotonic()}
    with suppress(OSError):  # nobody reads any more; the same is told by the reactor
        control.sendall(json.dumps(batch).encode() + b"\n")


def main() -> None:
    """Serve the socket whose descriptor is the argument."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the drill says when to stop
    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control)


if __name__ == "__main__":
    main()
