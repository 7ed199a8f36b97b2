"""Commands that somebody types, where what they are to read does not reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.errors import UsageError
from substitute.core.operate import one_offs
from substitute.core.ports.one_offs import Input
from substitute.values import replace
from tests.unit.fakes.one_offs import FakeOneOffs
from tests.unit.shops import notices

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop

COMMAND = ["bin/load"]


def clustered(shop: Shop, given: Input) -> FakeOneOffs:
    """A version of `shop` runs in a cluster, and this is in standard input."""
    shop.change(slots={name: replace(slot, clustered=True) for name, slot in shop.app.slots.items()})
    deploy(shop.host, shop.app)
    for slot in shop.host.journal.app("shop").slots.values():
        slot.directory.mkdir(exist_ok=True)
    fake = shop.host.one_offs
    assert isinstance(fake, FakeOneOffs)
    fake.given = given
    return fake


def test_in_a_cluster_input_that_would_be_lost_is_refused(shop: Shop) -> None:
    clustered(shop, Input.WAITS)
    with pytest.raises(UsageError) as caught:
        one_offs.run(shop.host, shop.app, COMMAND)
    assert "has no standard input" in caught.value.reason
    assert "`kubectl exec -i deployment/shop-a -- CMD`" in caught.value.cure
    assert "run bin/load in shop_a" not in shop.world.log
    assert shop.host.journal.runs("shop") == []


@pytest.mark.parametrize(("given", "times"), [(Input.MAY_COME, 1), (Input.NONE, 0)])
def test_in_a_cluster_who_may_type_is_told_once_that_nothing_arrives(
    shop: Shop, given: Input, times: int
) -> None:
    clustered(shop, given)
    assert one_offs.run(shop.host, shop.app, COMMAND) == 0
    assert notices(shop).count("what you type does not reach it") == times


def test_elsewhere_a_command_reads_what_there_is(shop: Shop) -> None:
    clustered(shop, Input.WAITS)
    shop.change(slots={name: replace(slot, clustered=False) for name, slot in shop.app.slots.items()})
    shop.host.journal.register(shop.app)
    deploy(shop.host, shop.app)
    assert one_offs.run(shop.host, shop.app, COMMAND) == 0
