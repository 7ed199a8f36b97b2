"""From each kind of balancer to each other, with requests at the earlier front door and at the later one."""

from __future__ import annotations

import subprocess
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.handover import BalancerHandover
from substitute.balancers.passive.balancer import Passive
from substitute.balancers.passive.rules import table_name
from substitute.balancers.traefik.balancer import Traefik
from substitute.core.model.slots import Endpoint
from tests.contracts import haproxies, nginxes, passives, traefiks
from tests.contracts.balanced_site import A, B, Kind, Site
from tests.contracts.strict_client import get, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.balancers.handover import Leaving
    from substitute.core.model.slots import SlotName

pytestmark = pytest.mark.slow

KINDS = ("haproxy", "passive", "nginx", "traefik")
STEP = 20


class Town:
    """One app, and a front door of each kind; all their programs run all the time, but for HAProxy."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.doors = {"haproxy": site.listen}
        for kind in ("passive", "nginx", "traefik"):
            site.listen = self.doors[kind] = Endpoint("127.0.0.1", free_port())
            if kind == "passive":
                passives.make(passives.nginx, site)
            elif kind == "nginx":
                nginxes.make(
                    site, binary=nginxes.binaries()["nginx of the wheel"], more="keepalive_min_timeout 2s;"
                )
            else:
                traefiks.make(site)
        self.noted: set[str] = set()
        """What the journal would remember."""
        site.start_both()

    def alone(self, kind: str) -> None:
        """From here on the root is one that has only ever had a balancer of `kind`; slot a is live."""
        for other in KINDS:
            self._adapter(other).stop()
        self.noted = set()
        self.command(kind).route([self.site.shop(100, 0)])

    def command(self, kind: str, *, certain: bool = True) -> BalancerHandover:
        """What the next command has, `kind` being configured."""
        known = self.noted if certain else set(KINDS)
        earlier = {other: self._adapter(other) for other in known - {kind}}
        return BalancerHandover(kind, self._adapter(kind), earlier, self._note, certain=certain)

    def deploy(self, kind: str, live: SlotName, *, meanwhile: tuple[object, ...] = ()) -> BalancerHandover:
        """Move the traffic to `live` as a deployment does, and stop the other instance once it has none."""
        balancer, old = self.command(kind), live.other

        def share(a: int, b: int) -> None:
            balancer.route([self.site.shop(*((a, b) if live is A else (b, a)))])

        share(0, 100)
        self._pause(meanwhile)
        share(50, 50)
        share(100, 0)
        endpoint = self.site.endpoints[old]
        for _ in range(2):  # as a drain does: a request may be on its way at the first look
            eventually(lambda: (balancer.traffic() or {})[endpoint].in_flight == 0)
        self.site.stop(f"{old}0")
        self._pause(meanwhile)
        share(100, 0)
        self._pause(meanwhile)
        self.site.start(f"{old}0", endpoint)
        return balancer

    @staticmethod
    def _pause(loads: tuple[object, ...]) -> None:
        for running in loads:
            running.wait_for_more(STEP)  # type: ignore[attr-defined]

    def _note(self, kinds: Sequence[str]) -> None:
        self.noted = set(kinds)

    def gate(self) -> str:
        """The rules of `passive`."""
        listed = ["nft", "list", "table", "inet", table_name(self.site.root)]
        return subprocess.run(listed, capture_output=True, text=True, check=False).stdout

    def _adapter(self, kind: str) -> Leaving:
        if kind == "passive":
            return Passive(self.site.root, passives.Settings(), self.site.warnings.append)
        if kind == "nginx":
            return nginxes.adapter(self.site)
        if kind == "traefik":
            program = traefiks.of(self.site)
            return Traefik(program.file, program.url)
        self.site.listen = self.doors["haproxy"]
        return haproxies.make(self.site)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    site = Site(tmp_path_factory.mktemp("town"), Kind(haproxies.make, haproxies.restart))
    try:
        yield Town(site)
    finally:
        Passive(site.root, passives.Settings(), site.warnings.append).stop()
        site.end()


IN_SLOW = set(zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True))
"""Each kind is left once, and comes once. `make test` has one of them, `make test-long` each pair."""
USUAL = ("haproxy", "passive")


def _mark(pair: tuple[str, str]) -> Sequence[pytest.MarkDecorator]:
    if pair == USUAL:
        return ()
    return [pytest.mark.slow if pair in IN_SLOW else pytest.mark.long]


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(*pair, marks=_mark(pair)) for pair in permutations(KINDS, 2)],
)
def test_a_change_of_the_kind_fails_no_request_at_either_door(town: Town, before: str, after: str) -> None:
    town.alone(before)
    with load(town.doors[before], 2) as earlier:
        town.command(after).route([town.site.shop(100, 0)])
        with load(town.doors[after], 2) as later:
            town.deploy(after, B, meanwhile=(earlier, later))
    assert (earlier.failures, later.failures) == ([], [])
    assert set(later.answers) == {"a0", "b0"}
    assert get(town.doors[before])[1] == "b0"
    assert before in town.noted


@pytest.mark.parametrize(
    "after", ["haproxy", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("nginx", "traefik"))]
)
def test_the_gate_goes_with_the_first_deployment_that_nobody_came_by_it_in(town: Town, after: str) -> None:
    town.alone("passive")
    town.command(after).route([town.site.shop(100, 0)])
    assert town.gate()
    with load(town.doors[after], 2) as running:
        town.deploy(after, B, meanwhile=(running,))
    assert town.gate() == ""
    assert town.noted == {after}
    assert running.failures == []
    assert [get(town.site.endpoints[slot])[1] for slot in (A, B)] == ["a0", "b0"]


def test_a_program_of_the_users_is_led_to_what_is_live_after_everything_was_down_too(town: Town) -> None:
    town.alone("nginx")
    for kind in ("haproxy", "passive"):
        town.command(kind).route([town.site.shop(100, 0)])
    town.command("haproxy").stop()
    assert town.noted == {"nginx"}
    town.command("haproxy").route([town.site.shop(0, 100)])
    assert get(town.doors["nginx"])[1] == "b0"


def test_where_nobody_noted_what_led_before_it_is_seen(town: Town) -> None:
    town.alone("passive")
    nobody = town.site.runtime.inspect("haproxy").process
    balancer = town.command("nginx", certain=False)
    balancer.route([town.site.shop(0, 100)])
    assert town.noted >= {"nginx", "passive"}
    assert "haproxy" not in town.noted
    assert town.site.runtime.inspect("haproxy").process is nobody is None
    assert get(town.doors["passive"])[1] == "b0"
