"""Processes and traffic, as all the fakes share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint, SlotName
from tests.unit.fakes.clock import FakeClock
from tests.unit.fakes.strangers import FakeStrangers

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.programs import Process, Program
    from substitute.core.ports.access_log import Answered


PORTS = {SlotName.A: 3001, SlotName.B: 3002}


@dataclass
class World:
    """Processes and traffic, as all the fakes share them."""

    clock: FakeClock = field(default_factory=FakeClock)
    running: dict[str, Process] = field(default_factory=dict)
    answering: dict[str, bool] = field(default_factory=dict)
    shares: dict[Endpoint, int] = field(default_factory=dict)
    in_flight: dict[Endpoint, int] = field(default_factory=dict)
    cut: dict[Endpoint, int] = field(default_factory=dict)
    streams: dict[Endpoint, list[str]] = field(default_factory=dict)
    """Those of the requests in flight that are WebSockets or event streams."""
    ended: list[tuple[float, str]] = field(default_factory=list)
    """Streams that the balancer was told to end, and when."""
    counts_requests: bool = True
    """Whether the balancer can tell a request from a connection."""
    files: dict[str, str] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    """By how many seconds second answers are late; then none is."""
    strangers: FakeStrangers = field(default_factory=FakeStrangers)
    pids: int = 100
    healthy: Callable[[str], bool] = lambda _commit: True
    """Whether a version answers well."""
    boots: Callable[[str], bool] = lambda _commit: True
    """Whether a version survives its start."""
    serves: Callable[[str, str], bool] = lambda _commit, _path: True
    """Whether a version has a path."""
    programs: dict[str, Program] = field(default_factory=dict)
    """What was last started under each name."""
    left: dict[str, set[Process]] = field(default_factory=dict)
    """What instances and builds of a slot have left running, by its directory."""
    elsewhere: set[Process] = field(default_factory=set)
    """Processes of another root."""
    listening: set[Endpoint] = field(default_factory=set)
    """Where instances listen that nobody finds on their port."""
    untracked: set[str] = field(default_factory=set)
    """Files of slots that no commit holds."""
    changed: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """What differs between two commits; of others that can't be told."""
    balancer_obeys: bool = True
    blind_until: float = 0.0
    """Until when the balancer can't say what it does."""
    remembers: bool = True
    """Whether the balancer is of the kind that keeps a log."""
    answered: list[Answered] = field(default_factory=list)
    """What is in that log."""
    noticed_after: float = 0.0
    """Seconds that the balancer takes to notice that requests are to go elsewhere."""
    pending: str = ""
    """What the balancer must reload for."""
    reloads: bool = True
    returns: bool = True
    """Whether files that are changed can be changed back."""
    written: list[str] = field(default_factory=list)
    """What stays when a version is removed."""
    retained: set[str] = field(default_factory=set)
    contracts: set[str] = field(default_factory=set)
    """Versions whose migration those before them do not survive."""
    build_status: int = 0
    release_status: int = 0
    build_takes: float = 0.0
    fetchable: bool = True

    def crash(self, name: str) -> None:
        self.running.pop(name, None)

    def name_on(self, port: int) -> str:
        bound = {self.port_of(name): name for name in self.running}
        usual = "shop_a" if port == PORTS[SlotName.A] else "shop_b"
        return bound.get(port) or ("nobody" if usual in self.running else usual)

    def port_of(self, name: str) -> int:
        program = self.programs.get(name)
        if program:
            return int(program.environment.get("PORT", 0))
        return PORTS[SlotName(name[-1])] if name in {"shop_a", "shop_b"} else 0
