"""What `status` calls a slot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from substitute.core.deployment import deploy
from substitute.core.status import observe
from tests.unit.fakes import FakeProber

if TYPE_CHECKING:
    from substitute.core.ports import Process
    from substitute.core.slots import Endpoint
    from tests.unit.fakes import Shop


class Unheard(FakeProber):
    """Of instances that do not come as far as to listen."""

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        return None


def test_one_that_crashes_at_each_start_is_failed_also_in_the_moments_when_it_is_there(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    between = replace(shop.host, prober=Unheard(shop.world))

    def state() -> tuple[str, bool]:
        slot = observe(between, [shop.app])["apps"][0]["slots"]["a"]
        return slot["state"], slot["pid"] is not None

    assert state() == ("failed", True)
    shop.world.crash("shop_a")
    assert state() == ("failed", False)
