"""Two edges in the model: each has a journal and a balancer of its own, and what runs is that of both."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from substitute.core.host import Host
from substitute.core.model.errors import LockedError, RuntimeFailedError, SubstituteError
from substitute.core.operate.edges import look_around
from substitute.core.ports.edges import Told
from tests.unit.world.balancer import ModelBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World

LEFT, RIGHT = "left", "right"
LIFE = 15.0
_SILENT = "The cluster does not answer."


class EdgeHost(Host):
    """That of one edge, whose locks are not the other's."""

    @property
    def _run(self) -> Path:
        assert self.edges
        place = self.root / "deploy" / f"run-{self.edges.name}"
        place.mkdir(exist_ok=True)
        return place


@dataclass
class Cluster:
    """What the edges tell each other."""

    world: World
    holders: dict[str, str] = field(default_factory=dict)
    said: dict[str, Told] = field(default_factory=dict)
    leads: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    off_since: dict[str, float] = field(default_factory=dict)
    words: int = 0

    def lives(self, edge: str) -> bool:
        """Whether an edge is taken for alive: it is on, or has been until lately."""
        since = self.off_since.get(edge)
        return since is None or self.world.clock.time < since + LIFE


@dataclass
class ModelEdges:
    """See `core.ports.edges.Edges`. While somebody waits, the other edge looks around, as it does each second."""

    cluster: Cluster
    name: str

    @contextmanager
    def hold(self, app: str, operation: str) -> Iterator[bool]:
        holders, before = self.cluster.holders, self.cluster.holders.get(app, "")
        self._deed(f"take the Lease for {operation}")
        if before not in {"", self.name} and self.cluster.lives(before):
            raise LockedError(f"{before} works on {app}.")
        holders[app] = self.name
        try:
            yield before not in {"", self.name}
        finally:
            self.cluster.world.look()  # one who was killed gives nothing back
            if holders.get(app) == self.name:
                holders.pop(app)

    def require_held(self, app: str) -> None:
        self.cluster.world.look()
        if self.cluster.holders.get(app) != self.name:
            raise LockedError(f"Another edge works on {app}.")

    def left(self, app: str) -> str:
        holder = self.cluster.holders.get(app, "")
        return holder if holder and (holder == self.name or not self.cluster.lives(holder)) else ""

    def told(self, app: str) -> Told | None:
        self.cluster.world.look()
        return self.cluster.said.get(app)

    def tell(self, app: str, state: str, *, after: str) -> str:
        self._deed(f"tell of {app}")
        known = self.cluster.said.get(app)
        if (known.word if known else "") != after:
            raise LockedError("Another edge has told something.")
        self.cluster.words += 1
        self.cluster.said[app] = Told(self.name, f"word {self.cluster.words}", state)
        return self.cluster.said[app].word

    def lead(self, slots: Mapping[str, Collection[str]]) -> None:
        self._deed("say where requests are led")
        self.cluster.leads[self.name] = {app: set(of) for app, of in slots.items()}

    def leading(self, app: str, slot: str) -> list[str]:
        self.cluster.world.look()
        assert self.cluster.world.edges
        self.cluster.world.edges.others_look_around()
        return [
            edge
            for edge, leads in self.cluster.leads.items()
            if edge != self.name and self.cluster.lives(edge) and slot in leads.get(app, ())
        ]

    def _deed(self, what: str) -> None:
        self.cluster.world.deed(f"{self.name}: {what}", RuntimeFailedError(_SILENT))


class Both:
    """The two edges of a world, of which one is typed on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cluster = Cluster(world)
        self.here = LEFT
        self._there: dict[str, Any] = {"balancer": ModelBalancer(world)}
        """What the other one has."""

    @property
    def edges(self) -> ModelEdges:
        return ModelEdges(self.cluster, self.here)

    def go_to(self, edge: str) -> None:
        """Type on `edge` from now on."""
        if edge == self.here:
            return
        world, there = self.world, self._there
        self._there = {name: getattr(world, name) for name in ("balancer", "journal", "host", "disk")}
        self.here = edge
        vars(world).update(there)
        if "host" not in there:
            world.open()
            world.disk = world.journal.on_the_disk()

    def power_off(self) -> None:
        """Cut the power of the edge that is typed on, and go to the other one. What it did not wait for is lost."""
        world, dead = self.world, self.here
        world.trail += ["", f"! {dead} loses its power"]
        self.cluster.off_since[dead] = world.clock.time
        world.balancer.running = False
        for left in (world.builds, world.runs, world.confined):
            left.clear()
        world.replace_journal(world.disk)
        self.go_to(other(dead))

    def power_on(self) -> None:
        """Have all be on."""
        self.cluster.off_since.clear()

    def look_around(self) -> None:
        """What the edge does that is typed on, each second."""
        world = self.world
        with world.unwatched("look around"):
            try:
                look_around(world.host, [world.apps["shop"]])
            except SubstituteError as error:
                world.trail.append(f"# {self.here}: {error}")

    def others_look_around(self) -> None:
        """The same on the other one, in the middle of what is done here."""
        here = self.here
        if other(here) in self.cluster.off_since:
            return
        self.go_to(other(here))
        try:
            self.look_around()
        finally:
            self.go_to(here)

    def require_free(self, instance: Instance) -> None:
        """An instance that is told to stop has requests from no edge."""
        balancer: ModelBalancer = self._there["balancer"]
        if other(self.here) in self.cluster.off_since or not instance.endpoint:
            return
        if balancer.running and balancer.in_force.get(instance.endpoint):
            self.world.wrong(f"SIGTERM to {instance.name}, to which {other(self.here)} leads requests")
        if balancer.cuts_off(instance):
            self.world.wrong(f"SIGTERM to {instance.name} with requests in flight from {other(self.here)}")


def other(edge: str) -> str:
    return RIGHT if edge == LEFT else LEFT


def of_a_cluster(world: World) -> None:
    """Have the world have two edges, and shop in a cluster."""
    shop = world.apps["shop"]
    slots = {name: replace(slot, clustered=True) for name, slot in shop.slots.items()}
    world.apps = {"shop": replace(shop, slots=slots)}
    world.edges = Both(world)
    world.journal.close()
    world.open()
    world.journal.register(world.apps["shop"])
    world.disk = world.journal.on_the_disk()
