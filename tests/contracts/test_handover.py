"""A root that goes from one kind of balancer to another while requests come in through both, on the real programs."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, cast

import pytest

from substitute.balancers.handover import Handover
from substitute.core.slots import Endpoint
from tests.contracts import haproxies, nginxes, passives, traefiks
from tests.contracts.balanced_site import A, B, site_in
from tests.contracts.strict_client import load
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from substitute.balancers.handover import Leaving

KINDS = {
    "haproxy": haproxies.KINDS["haproxy of the wheel"],
    "passive": passives.KINDS["passive behind nginx"],
    "nginx": nginxes.KINDS["nginx of the wheel"],
    "traefik": traefiks.KINDS["traefik"],
}
STEP = 20


@pytest.mark.parametrize(("earlier", "later"), list(permutations(KINDS, 2)))
def test_requests_through_the_earlier_one_and_the_later_one_are_all_answered(
    tmp_path: Path, earlier: str, later: str
) -> None:
    noted: list[Sequence[str]] = []
    with site_in(tmp_path, KINDS[earlier]) as site:
        site.start_both()
        site.route(100, 0)
        before, former_door = site.balancer, site.listen
        with load(former_door, keepalive=False, clients=3) as through_former:
            site.listen = Endpoint("127.0.0.1", free_port())
            after = KINDS[later].make(site)
            site.balancer = Handover(
                later, cast("Leaving", after), {earlier: cast("Leaving", before)}, noted.append
            )
            site.route(100, 0)
            assert noted[-1] == [later, earlier]
            with load(site.listen, keepalive=False, clients=3) as through_new:
                for old, new in ((A, B), (B, A)):
                    site.route(50, 50)
                    site.route(*((0, 100) if new is B else (100, 0)))
                    site.drained(old)
                    site.stop(f"{old}0")
                    through_former.wait_for_more(STEP)
                    through_new.wait_for_more(STEP)
                    site.start(f"{old}0", site.endpoints[old])
        assert through_former.failures == []
        assert through_new.failures == []
        site.balancer.stop()
        assert noted[-1] == []
