"""An app, and a host that is all fakes but the journal."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from substitute.core.host import Host
from substitute.core.model.app_settings import Build, Drain
from substitute.core.model.apps import App
from substitute.core.model.events import Notice
from substitute.core.model.health import Health
from substitute.core.model.slots import Endpoint, Slot, SlotName
from substitute.core.state.journal import Journal
from tests.unit.fakes.balancer import FakeBalancer
from tests.unit.fakes.commands import FakeCommands
from tests.unit.fakes.files import NoFiles
from tests.unit.fakes.instances import FakeInstances
from tests.unit.fakes.load import FakeLoad
from tests.unit.fakes.observer import FakeObserver
from tests.unit.fakes.one_offs import FakeOneOffs
from tests.unit.fakes.prober import FakeProber
from tests.unit.fakes.runtime import FakeRuntime
from tests.unit.fakes.source import FakeSource
from tests.unit.fakes.world import PORTS, World

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.events import Event


@dataclass
class Shop:
    """An app on a host that is all fakes but the journal."""

    world: World
    app: App
    host: Host
    events: list[Event]

    def names(self) -> list[str]:
        return [event.event for event in self.events if event.event not in {"output", "notice"}]

    def change(self, **changes: object) -> None:
        self.app = changed(self.app, **changes)


def changed(app: App, **changes: object) -> App:
    """`app` with these settings; of a group of them, ``drain={"timeout": 5.0}``, only those that are named."""
    whole = dict(changes)
    for name, one in changes.items():
        group: Any = getattr(app, name)
        if isinstance(one, dict) and not isinstance(group, dict):
            whole[name] = replace(group, **one)
    return replace(app, **whole)  # type: ignore[arg-type]


def make_slots(root: Path, name: str, a: int, b: int) -> dict[SlotName, Slot]:
    ports = {SlotName.A: a, SlotName.B: b}
    return {
        slot: Slot(slot, root / f"{name}_{slot}", (Endpoint("127.0.0.1", port),))
        for slot, port in ports.items()
    }


def make_app(root: Path) -> App:
    return App(
        name="shop",
        root=root,
        repo="repo",
        branch=None,
        build=Build(("make",)),
        clean=False,
        start="serve",
        slots=make_slots(root, "shop", *PORTS.values()),
        domains=(),
        env={},
        health=Health("http", "/", None, timeout=30.0, interval=0.1, successes=2),
        drain=Drain(30.0),
        stop_timeout=30.0,
        hooks_timeout=60.0,
    )


def make_shop(root: Path) -> Shop:
    world = World()
    events: list[Event] = []
    (root / "deploy" / "run").mkdir(parents=True)
    host = Host(
        root=root,
        journal=Journal(root / "deploy" / "journal.db"),
        balancer=FakeBalancer(world),
        runtime=FakeRuntime(world),
        instances=FakeInstances(world),
        prober=FakeProber(world),
        strangers=world.strangers,
        observer=FakeObserver(world),
        commands=FakeCommands(world),
        one_offs=FakeOneOffs(world),
        load=FakeLoad(world.log),
        clock=world.clock,
        emit=events.append,
        source=lambda _app: FakeSource(world),
        files=lambda _app: NoFiles(),
        caller={"PATH": "/bin"},
        user="ada",
        guardian=lambda _app: nullcontext(lambda: events.append(Notice("handed over"))),
    )
    return Shop(world, make_app(root), host, events)
