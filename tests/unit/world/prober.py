"""Instances from outside, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.ports.prober import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.prober import Connected, Page
    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World


@dataclass
class ModelProber:
    world: World

    def holder(self, endpoint: Endpoint) -> str | None:
        instance = self._look(endpoint)
        return instance.name if instance else None

    def connected(self, endpoint: Endpoint) -> Connected | None:
        return None

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        self._look(endpoint)
        instance = self.world.on(endpoint)
        page = instance.command.removeprefix("serve ") if instance else ""
        good = self.world.is_ready(endpoint) and (health.kind == "tcp" or page == health.path)
        return Answer(good, "200" if good else "500")

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        return frozenset([endpoint])

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        return self.probe(endpoint, health)

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        return [self.fetch(one.endpoint, one.path, one.health, limit=limit) for one in pages]

    def _look(self, endpoint: Endpoint) -> Instance | None:
        self.world.look(*(one.name for one in self.world.instances if one.endpoint == endpoint))
        return self.world.on(endpoint)
