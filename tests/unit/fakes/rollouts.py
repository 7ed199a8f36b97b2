"""Rollouts on fake hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.config.models import SECTIONS
from substitute.config.models.hosts import HostsConfig
from substitute.config.tables import Inner, Reader
from substitute.hosts.rollout import Rollout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.hosts.crew import Crew
    from substitute.hosts.outcomes import Outcome
    from tests.unit.fakes.fleet import FakeTransport

NAMES = ("web1", "web2", "web3", "web4")


def config_of(**keys: Any) -> HostsConfig:
    made: HostsConfig | None = Inner(HostsConfig).read({"web": list(NAMES), **keys}, (), Reader(SECTIONS))
    assert made is not None
    return made


class Driver:
    """Rollouts on fake hosts, and what was shown."""

    def __init__(self, transport: FakeTransport, crew: Crew, shown: list[Any]) -> None:
        self.transport, self.crew, self.shown = transport, crew, shown

    def rollout(self, batch: str = "100%", *, waits: bool = False, **keys: Any) -> Rollout:
        there, show = self.transport.there(), self.shown.append
        hosts = self.transport.all()
        return Rollout(there, self.crew, show, config_of(**keys), hosts, "shop", batch, waits=waits)

    def planned(self) -> list[list[str]]:
        found: list[list[str]] = next(one["batches"] for one in self.shown if one["event"] == "rollout")
        return found

    def done(self) -> dict[str, list[list[str]]]:
        return {name: host.done for name, host in self.transport.hosts.items()}


def states(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {one.host: str(one.state) for one in outcomes}
