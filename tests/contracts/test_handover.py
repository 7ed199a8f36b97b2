"""A root that goes from one kind of balancer to another while requests come in through both, on the real programs."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from substitute.balancers.handover import Handover
from substitute.core.slots import Endpoint
from tests.contracts import haproxies, nginxes, passives, traefiks
from tests.contracts.balanced_site import A, site_in
from tests.contracts.strict_client import load
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.balancers.handover import Leaving
    from tests.contracts.balanced_site import Site

KINDS = {
    "haproxy": haproxies.KINDS["haproxy of the wheel"],
    "passive": passives.KINDS["passive behind nginx"],
    "nginx": nginxes.KINDS["nginx of the wheel"],
    "traefik": traefiks.KINDS["traefik"],
}
STEP = 20


class All(NamedTuple):
    """One site with the programs of all kinds in front, each with a door of its own."""

    site: Site
    balancers: dict[str, Leaving]
    doors: dict[str, Endpoint]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[All]:
    with site_in(tmp_path_factory.mktemp("handover"), KINDS["haproxy"]) as site:
        balancers, doors = {"haproxy": cast("Leaving", site.balancer)}, {"haproxy": site.listen}
        for kind in ("passive", "nginx", "traefik"):
            site.listen = doors[kind] = Endpoint("127.0.0.1", free_port())
            balancers[kind] = cast("Leaving", KINDS[kind].make(site))
        site.start_both()
        yield All(site, balancers, doors)


@pytest.mark.parametrize(("earlier", "later"), list(permutations(KINDS, 2)))
def test_requests_through_the_earlier_one_and_the_later_one_are_all_answered(
    everything: All, earlier: str, later: str
) -> None:
    site, balancers, doors = everything
    noted: list[Sequence[str]] = []
    site.balancer = balancers[earlier]
    site.route(100, 0)
    with load(doors[earlier], keepalive=False, clients=3) as through_former:
        site.balancer = Handover(later, balancers[later], {earlier: balancers[earlier]}, noted.append)
        site.route(100, 0)
        assert noted[-1] == [later, earlier]
        with load(doors[later], keepalive=False, clients=3) as through_new:
            through_new.wait_for_more(STEP)
            site.route(0, 100)
            site.drained(A)
            site.stop("a0")
            through_former.wait_for_more(STEP)
            through_new.wait_for_more(STEP)
    assert through_former.failures == []
    assert through_new.failures == []
    site.start("a0", site.endpoints[A])
    site.balancer.stop()
    assert noted[-1] == []
