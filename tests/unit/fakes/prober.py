"""Instances from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.ports.prober import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.prober import Connected, Page
    from tests.unit.fakes.world import World


@dataclass
class FakeProber:
    world: World

    def holder(self, endpoint: Endpoint) -> str | None:
        name = self.world.name_on(endpoint.port)
        return f"{name}" if name in self.world.running else None

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        name = self.world.name_on(endpoint.port)
        commit = (
            self.world.files.get(f"{self.world.programs[name].directory}", "")
            if name in self.world.programs
            else ""
        )
        good = self.world.answering.get(name, False) and self.world.serves(commit, health.path)
        return Answer(good, "200" if good else "500")

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        return frozenset(one for one in self.world.listening if one.port == endpoint.port)

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        self.world.log.append(f"fetch {endpoint.port}{path}")
        return Answer(good=True, seen="200", status=200)

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        return [self.fetch(one.endpoint, one.path, one.health, limit=limit) for one in pages]

    def connected(self, endpoint: Endpoint) -> Connected | None:
        return None
