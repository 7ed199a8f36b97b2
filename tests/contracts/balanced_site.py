"""A root with a balancer, its runtime, and the two instances of an app behind it, all of them real."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.ports import Backend, Balancer, Runtime, Server
from substitute.core.slots import Endpoint, SlotName
from substitute.runtimes.supervisord import Supervisord
from tests.contracts.strict_client import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports import Traffic

Make = Callable[[Path, Runtime, str], Balancer]
"""Makes a balancer from the run directory, the runtime, and ``HOST:PORT`` to listen on."""

_APP = Path(__file__).with_name("echo_app.py")
A, B = SlotName.A, SlotName.B


class Site:
    """The app ``shop`` in slots a and b, whose instances answer ``a0`` and ``b0``."""

    def __init__(self, run_directory: Path, make: Make) -> None:
        self.run_directory = run_directory
        self.runtime = Supervisord(run_directory)
        self.listen = Endpoint("127.0.0.1", free_port())
        self.balancer = make(run_directory, self.runtime, str(self.listen))
        self.endpoints = {slot: Endpoint("127.0.0.1", free_port()) for slot in SlotName}
        self._instances: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, endpoint: Endpoint) -> subprocess.Popen[bytes]:
        """Start an instance that answers its name, and wait until it listens."""
        instance = subprocess.Popen(
            [sys.executable, str(_APP), name, str(endpoint.port)], stdout=subprocess.PIPE
        )
        self._instances[name] = instance
        assert instance.stdout is not None
        assert instance.stdout.readline()
        return instance

    def start_both(self) -> None:
        """Start the instances of both slots."""
        for slot, endpoint in self.endpoints.items():
            self.start(f"{slot}0", endpoint)

    def stop(self, name: str) -> None:
        """SIGTERM, and wait until it is gone."""
        self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(name, signal.SIGKILL)

    def _end(self, name: str, number: int) -> None:
        instance = self._instances.pop(name)
        instance.send_signal(number)
        instance.wait()
        assert instance.stdout is not None
        instance.stdout.close()

    def shop(self, a: int, b: int, *, domains: tuple[str, ...] = (), drain_timeout: float = 30.0) -> Backend:
        """The app with these shares."""
        servers = (Server(A, self.endpoints[A], a), Server(B, self.endpoints[B], b))
        return Backend("shop", domains, servers, drain_timeout)

    def route(self, a: int, b: int) -> None:
        """Give the slots of the only app these shares."""
        self.balancer.route([self.shop(a, b)])

    def traffic(self, slot: SlotName) -> Traffic:
        """What the balancer says of the slot's instance."""
        traffic = self.balancer.traffic()
        assert traffic is not None
        return traffic[self.endpoints[slot]]

    def drained(self, slot: SlotName) -> None:
        """Wait until the slot's instance has no request left."""
        until(lambda: self.traffic(slot).in_flight == 0)

    def end(self) -> None:
        """End all that was started."""
        self.balancer.stop()
        self.runtime.shutdown()
        for name in list(self._instances):
            self.stop(name)


@contextmanager
def site_in(directory: Path, make: Make) -> Iterator[Site]:
    """A site below `directory`, gone afterwards."""
    run_directory = directory / "deploy" / "run"
    run_directory.mkdir(parents=True)
    site = Site(run_directory, make)
    try:
        yield site
    finally:
        site.end()


def other_app(endpoint: Endpoint, *, name: str = "blog", share: int = 100) -> Backend:
    """Another app of the root, with a domain."""
    return Backend(name, (f"{name}.example.com",), (Server(A, endpoint, share),))
