"""Has shares of the requests, as it is told."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import BalancerError, UnmovedError, UnobservedError
from substitute.core.ports.balancer import Traffic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.access_log import AccessLog, Answered, Answers
    from substitute.core.ports.balancer import Backend
    from tests.unit.fakes.world import World


@dataclass
class FakeAccessLog:
    world: World
    app: str

    def recent(self) -> Sequence[Answered]:
        if self.world.clock.time < self.world.blind_until:
            raise UnobservedError("The balancer does not say.")
        return [one for one in self.world.answered if one.app == self.app]

    @contextmanager
    def follow(self) -> Iterator[Answers]:
        yield FakeAnswers(self.world, self.app, len(self.world.answered))


@dataclass
class FakeAnswers:
    world: World
    app: str
    taken: int

    def take(self, seconds: float) -> Sequence[Answered]:
        self.world.clock.sleep(seconds)
        new = self.world.answered[self.taken :]
        self.taken += len(new)
        return [one for one in new if one.app == self.app]


@dataclass
class FakeBalancer:
    world: World

    def route(self, backends: Sequence[Backend]) -> None:
        if not self.world.balancer_obeys:
            raise BalancerError("The balancer did not obey.")
        shares = {server.endpoint: server.share for backend in backends for server in backend.servers}
        if shares != self.world.shares:
            self.world.shares = shares
            self.world.log.append("route " + " ".join(f"{e.port}={s}" for e, s in sorted(shares.items())))

    def previews(self, backend: Backend) -> Sequence[str]:
        return [f"http://here/{backend.preview.token}"] if backend.preview else []

    def access_log(self, app: str) -> AccessLog | None:
        return FakeAccessLog(self.world, app) if self.world.remembers else None

    def notices_after(self) -> float:
        return self.world.noticed_after

    def fronts(self) -> Sequence[str]:
        return ("*:8080",)

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        if self.world.clock.time < self.world.blind_until:
            raise UnobservedError("The balancer does not say.")
        return [one for endpoint in endpoints for one in self.world.streams.get(endpoint, ())]

    def end_streams(self, streams: Sequence[str]) -> int:
        count = 0
        for endpoint, there in self.world.streams.items():
            for one in set(there).intersection(streams):
                there.remove(one)
                self.world.in_flight[endpoint] -= 1
                self.world.ended.append((self.world.clock.time, one))
                count += 1
        return count

    def pending(self, backends: Sequence[Backend]) -> str:
        del backends
        return self.world.pending

    def reload(self, backends: Sequence[Backend]) -> None:
        if not self.world.reloads:
            raise UnmovedError("Its address is held by nginx.")
        self.world.log.append("reload")
        self.world.pending = ""
        self.route(backends)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        if self.world.clock.time < self.world.blind_until:
            raise UnobservedError("The balancer does not say.")
        return {
            endpoint: Traffic(
                self.world.in_flight.get(endpoint, 0),
                0 if self.world.counts_requests else None,
                self.world.cut.get(endpoint, 0) if self.world.counts_requests else None,
                share,
            )
            for endpoint, share in self.world.shares.items()
        }

    def stop(self) -> None:
        self.world.log.append("balancer stopped")
