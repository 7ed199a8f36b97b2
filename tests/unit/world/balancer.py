"""Where requests go in the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from substitute.core.model.errors import BalancerError, RuntimeFailedError, UnmovedError, UnobservedError
from substitute.core.ports.balancer import Traffic
from substitute.core.state.drain_now import wanted_at_once
from tests.unit.world.apps import DRAIN_LIMIT
from tests.unit.world.instances import AGAIN, Instance
from tests.unit.world.versions import ENDLESS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend
    from tests.unit.world.world import World


@dataclass
class ModelBalancer:
    """Its file holds what it comes back with; what is in force it was told."""

    world: World
    running: bool = False
    file: dict[Endpoint, int] = field(default_factory=dict)
    in_force: dict[Endpoint, int] = field(default_factory=dict)
    spare_in_file: set[Endpoint] = field(default_factory=set)
    spare: set[Endpoint] = field(default_factory=set)
    """Who is asked for assets, and may get no other requests."""
    waiting_by_file: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    """Apps whose new requests wait until a slot has a share."""
    left: dict[Endpoint, tuple[float, float]] = field(default_factory=dict)
    """Since when an endpoint gets no new requests, and when its last one ends."""
    uncounted: set[Endpoint] = field(default_factory=set)
    """Where a request is under way that the balancer has accepted and not yet counted."""
    blind_until: float = 0.0
    refuses: bool = False
    """It can bind to nothing that is new, say; what is in force stays so."""

    def route(self, backends: Sequence[Backend]) -> None:
        shares = {server.endpoint: server.share for backend in backends for server in backend.servers}
        spare = {
            server.endpoint
            for backend in backends
            for server in backend.servers
            if backend.assets and server.slot is backend.spare
        }
        waiting = frozenset(backend.app for backend in backends if backend.waits)
        told = " ".join(f"{endpoint.port}={share}" for endpoint, share in sorted(shares.items()))
        told += "".join(f" {app} waits" for app in sorted(waiting))
        if self.refuses and (shares, waiting) != ((self.in_force, self.waiting) if self.running else None):
            raise UnmovedError("The balancer cannot bind.")
        self.world.deed(f"write the balancer's file: {told}", BalancerError("The balancer did not obey."))
        self.file, self.spare_in_file, self.waiting_by_file = shares, spare, waiting
        self.world.deed(f"route {told}", BalancerError("The balancer did not obey."))
        with self.world.rules.changing():
            self._obey(shares, spare)
            self.waiting = waiting
        for app in self.world.subjects:
            self.world.rules.led(app)
        self.world.deed("read it back", BalancerError("The balancer did not say so."))

    def _obey(self, shares: dict[Endpoint, int], spare: set[Endpoint]) -> None:
        before = (
            {one for one, share in self.in_force.items() if share} | self.spare if self.running else set()
        )
        for endpoint, share in shares.items():
            if share or endpoint in spare:
                self.left.pop(endpoint, None)
            if share:
                self.world.rules.reached(self.world.on(endpoint))
            elif endpoint in before - spare and (instance := self.world.on(endpoint)):
                now = self.world.clock.time
                self.left[endpoint] = (now, math.inf if instance.version in ENDLESS else now + 0.05)
                self.uncounted.add(endpoint)
        self.running, self.in_force, self.spare = True, shares, spare

    def pending(self, backends: Sequence[Backend]) -> str:
        del backends
        return ""

    def reload(self, backends: Sequence[Backend]) -> None:
        self.route(backends)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        self.world.look()
        if self.world.clock.time < self.blind_until:
            raise UnobservedError("The balancer does not say.")
        if not self.running:
            return {}
        return {
            endpoint: Traffic(self._count(endpoint, share), 0, 0, share)
            for endpoint, share in self.in_force.items()
        }

    def _count(self, endpoint: Endpoint, share: int) -> int:
        if endpoint in self.uncounted:
            self.uncounted.discard(endpoint)
            return 0
        _, until = self.left.get(endpoint, (0.0, 0.0))
        return int(share > 0 or endpoint in self.spare or self.world.clock.time < until)

    def cuts_off(self, instance: Instance) -> bool:
        """Whether requests end with `instance` that had a right to go on."""
        assert instance.endpoint
        since, until = self.left.get(instance.endpoint, (0.0, 0.0))
        now = self.world.clock.time
        may_go_on = (
            now < since + max(DRAIN_LIMIT, self.world.waves.end if self.world.waves else 0.0)
            and wanted_at_once(self.world.journal, instance.app) != self.world.deployer
        )
        return self.running and now < until and may_go_on

    def previews(self, backend: Backend) -> Sequence[str]:
        return [f"http://here/{backend.preview.token}"] if backend.preview else []

    def access_log(self, app: str) -> None:
        del app

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        self.world.look()
        if self.world.clock.time < self.blind_until:
            raise UnobservedError("The balancer does not say.")
        there = {endpoint: self.world.on(endpoint) for endpoint in endpoints if endpoint in self.left}
        return [str(endpoint) for endpoint, one in there.items() if one and one.version == "streaming"]

    def end_streams(self, streams: Sequence[str]) -> int:
        self.world.deed(f"end the streams of {' '.join(streams)}")
        count = 0
        for endpoint, (since, until) in list(self.left.items()):
            if str(endpoint) in streams and until == math.inf:
                now = self.world.clock.time
                if self.world.waves is None or now < since + self.world.waves.after:
                    self.world.wrong(f"streams of {endpoint} were ended too early")
                self.left[endpoint] = (since, now)
                count += 1
        return count

    def notices_after(self) -> float:
        return 0.0

    def fronts(self) -> Sequence[str]:
        return ()

    def stop(self) -> None:
        self.world.deed("end the balancer", RuntimeFailedError("It cannot be ended."))
        with self.world.rules.changing():
            self.running = False

    # What happens to it.

    def lose(self) -> None:
        if self.running:
            self.running = False
            self.left.clear()
            self.uncounted.clear()
            self.world.clock.after(AGAIN, self._come_back)

    def _come_back(self) -> None:
        if self.world.runtime.running and not self.running:
            self.running, self.in_force, self.spare = True, dict(self.file), set(self.spare_in_file)
            self.running, self.in_force = True, dict(self.file)
            self.waiting = self.waiting_by_file
