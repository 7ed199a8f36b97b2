"""A root with a balancer, its runtime, and the two instances of an app behind it, all of them real."""

from __future__ import annotations

import shutil
import signal
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import UnobservedError
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server
from substitute.runtimes.supervisord.runtime import Supervisord
from tests.contracts.echo_apps import Instance, instances
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from substitute.core.ports.balancer import Balancer, Traffic


@dataclass(frozen=True)
class Kind:
    """A balancer on a real program, and what may be expected of it."""

    make: Callable[[Site], Balancer]
    """Makes it, and starts the program where that is the user's own; what it starts, it leaves to `Site.at_end`."""
    restart: Callable[[Site], None]
    """Ends its program without ceremony and has it run again; the routes were set before."""
    weighs: bool = True
    """It keeps any shares, and says which are in force; else: one slot, the other, or both."""
    counts: bool = True
    """It counts requests, and those that were cut."""
    keeps_clients: bool = True
    """A switch closes no kept-alive connection of a client."""
    host: str = "127.0.0.1"
    """Where the instances listen."""
    door: str = "127.0.0.1"
    """Where the balancer does."""


A, B = SlotName.A, SlotName.B


class Site:
    """The app ``shop`` in slots a and b, whose instances answer ``a0`` and ``b0``."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self.root = root
        self.run_directory = root / "deploy" / "run"
        self.run_directory.mkdir(parents=True)
        self.runtime = Supervisord(self.run_directory)
        self.listen = Endpoint(kind.door, free_port())
        self.endpoints = {slot: Endpoint(kind.host, free_port()) for slot in SlotName}
        self.warnings: list[str] = []
        self.front: object = None
        """The user's own balancer, where there is one."""
        self._instances: dict[str, Instance] = {}
        self._ending = ExitStack()
        self.kind = kind
        self._renewed = 0
        self._make()

    def _make(self) -> None:
        try:
            self.balancer = self.kind.make(self)
        except BaseException:
            self._ending.close()
            raise

    def renew(self) -> None:
        """Be a new one, whose supervisord runs already: that takes longer to start than all the rest."""
        self._end_balancer()
        self._renewed += 1
        self.root = self.run_directory.parents[1] / str(self._renewed)
        self.root.mkdir()
        self.runtime = Supervisord(self.run_directory)
        for path in self.run_directory.iterdir():
            if not path.name.startswith(("supervisord", "program")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.warnings.clear()
        self.front = None
        self.listen = Endpoint(self.kind.door, free_port())
        self.endpoints = {slot: Endpoint(self.kind.host, free_port()) for slot in SlotName}
        self._make()

    def at_end(self, act: Callable[[], object]) -> None:
        """Have `act` called when the site ends; the last one first."""
        self._ending.callback(act)

    def restart_balancer(self) -> None:
        """Have its program end and run again."""
        self.kind.restart(self)

    def start(self, name: str, endpoint: Endpoint) -> Instance:
        """Start an instance that answers its name, and wait until it listens."""
        (self._instances[name],) = instances({name: endpoint})
        return self._instances[name]

    def start_both(self) -> None:
        """Start the instances of both slots."""
        wanted = {f"{slot}0": endpoint for slot, endpoint in self.endpoints.items()}
        self._instances |= zip(wanted, instances(wanted), strict=True)

    def stop(self, name: str) -> None:
        """SIGTERM, and wait until it is gone."""
        self._instances.pop(name).end(signal.SIGTERM)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self._instances.pop(name).end(signal.SIGKILL)

    def shop(self, a: int, b: int, *, domains: tuple[str, ...] = ()) -> Backend:
        """The app with these shares."""
        servers = (Server(A, self.endpoints[A], a), Server(B, self.endpoints[B], b))
        return Backend("shop", domains, servers)

    def route(self, a: int, b: int) -> None:
        """Give the slots of the only app these shares."""
        self.balancer.route([self.shop(a, b)])

    def observed(self) -> Mapping[Endpoint, Traffic]:
        """What the balancer says; empty while it says nothing."""
        try:
            return self.balancer.traffic() or {}
        except UnobservedError:
            return {}

    def traffic(self, slot: SlotName) -> Traffic:
        """What the balancer says of the slot's instance, as soon as it does."""
        eventually(lambda: self.endpoints[slot] in self.observed())
        return self.observed()[self.endpoints[slot]]

    def requests(self, slot: SlotName) -> int:
        """How many requests the balancer has counted for the slot's instance."""
        counted = self.traffic(slot).requests
        assert counted is not None
        return counted

    def drained(self, slot: SlotName) -> None:
        """Wait until the slot's instance has no request left."""
        eventually(lambda: self.traffic(slot).in_flight == 0)

    def end(self) -> None:
        """End all that was started."""
        self._end_balancer()
        self.runtime.shutdown()

    def _end_balancer(self) -> None:
        self.balancer.stop()
        self._ending.close()
        for name in list(self._instances):
            self.stop(name)


@contextmanager
def site_in(directory: Path, kind: Kind) -> Iterator[Site]:
    """A site in `directory`, gone afterwards."""
    site = Site(directory, kind)
    try:
        yield site
    finally:
        site.end()


def other_app(endpoint: Endpoint, *, name: str = "blog", share: int = 100) -> Backend:
    """Another app of the root, with a domain."""
    return Backend(name, (f"{name}.example.com",), (Server(A, endpoint, share),))
