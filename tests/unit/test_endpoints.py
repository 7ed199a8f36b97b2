"""Ports that change while a version runs: any new pair works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.model.endpoints import assign
from substitute.core.model.errors import UsageError
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.operate.status import observe
from tests.unit.fakes.shop import make_app, make_slots

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop

PORT = st.integers(1, 5)
PAIR = st.tuples(PORT, PORT).filter(lambda pair: pair[0] != pair[1])


def with_ports(shop: Shop, a: int, b: int) -> None:
    shop.change(slots=make_slots(shop.app.root, "shop", a, b))


def ports(shop: Shop) -> dict[str, int]:
    slots = shop.host.journal.app("shop").slots.values()
    return {slot.name: slot.endpoints[0].port for slot in slots}


@pytest.mark.parametrize("pair", [(3002, 3001), (3005, 3001), (3001, 3005), (3002, 3005), (3005, 3006)])
def test_any_new_pair_of_ports_can_be_deployed_with(shop: Shop, pair: tuple[int, int]) -> None:
    deploy(shop.host, shop.app, "v1")
    with_ports(shop, *pair)
    for version in ("v2", "v3", "v4"):
        deploy(shop.host, shop.app, version)
        assert len(set(ports(shop).values())) == 2
        assert set(shop.world.shares) == set(map(endpoint, ports(shop).values()))
    assert set(ports(shop).values()) == set(pair)
    rollback(shop.host, shop.app)


def test_status_shows_the_ports_that_are_used(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    with_ports(shop, 3002, 3001)
    deploy(shop.host, shop.app, "v2")
    slots = observe(shop.host, [shop.app])["apps"][0]["slots"]
    assert {name: (slot["port"], slot["share"]) for name, slot in slots.items()} == {
        "a": (3001, 0),
        "b": (3002, 100),
    }


def test_two_apps_may_change_their_ports_with_each_other(shop: Shop) -> None:
    blog = replace(shop.app, name="blog", slots=make_slots(shop.app.root, "blog", 4001, 4002))
    deploy(shop.host, shop.app, "v1")
    shop.host.journal.register(blog)
    shop.host.journal.share("blog", {SlotName.A: 100})
    with_ports(shop, 4001, 4002)
    shop.host.journal.register(shop.app)
    assert ports(shop) == {"a": 3001, "b": 4002}
    shop.host.journal.share("shop", {SlotName.B: 50})
    routed = [server for backend in shop.host.journal.backends() for server in backend.servers]
    assert {(server.endpoint.port, server.share) for server in routed} == {
        (3001, 100),
        (4001, 100),
        (4002, 50),
    }
    with pytest.raises(UsageError, match="3001 of cafe is that of shop, which still runs"):
        shop.host.journal.register(
            replace(shop.app, name="cafe", slots=make_slots(shop.app.root, "cafe", 3001, 3002))
        )


@given(kept=PORT, pair=PAIR, slot=st.sampled_from(tuple(SlotName)))
def test_no_two_slots_get_the_same_port(kept: int, pair: tuple[int, int], slot: SlotName) -> None:
    app = replace(make_app(Path("/srv")), slots=make_slots(Path("/srv"), "shop", *pair))
    found = assign(app, {slot: (endpoint(kept),)}, set())
    assert found[slot] == (endpoint(kept),)
    assert found[slot.other] != found[slot]
    assert found[slot.other][0].port in pair


def endpoint(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)
