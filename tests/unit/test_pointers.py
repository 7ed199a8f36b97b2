"""The links of an app follow what is live."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import BalancerError, DeploymentFailedError
from substitute.core.model.events import PhaseStarted, Warned
from substitute.core.model.slots import Phase
from substitute.core.operate.root import up
from tests.unit.shops import A

if TYPE_CHECKING:
    from substitute.core.model.events import Event
    from tests.unit.fakes.shop import Shop


def signposts(shop: Shop) -> tuple[str, str]:
    """Where the link leads, and where the next deployment goes."""
    told = (shop.app.state_directory / "next_deploy").read_text().strip()
    return shop.app.current_link.readlink().name, told


def test_from_the_commit_on_the_links_lead_to_the_new_version_and_at_a_commit_back_to_the_old_one(
    shop: Shop,
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    seen = {}

    def note(event: Event) -> None:
        told = getattr(event, "message", getattr(event, "phase", ""))
        seen[f"{event.event} {told}"] = signposts(shop)
        if isinstance(event, PhaseStarted) and event.phase is Phase.DRAIN:
            shop.world.crash("shop_b")

    host = replace(shop.host, emit=note)
    with pytest.raises(DeploymentFailedError):
        deploy(host, shop.app, "v2")
    assert seen["phase commit"] == ("shop_a", "b")
    assert seen["phase_finished commit"] == ("shop_b", "a")
    assert seen["phase drain"] == ("shop_b", "a")
    assert seen["warning Slot b does not answer; slot a does, and is live now."] == ("shop_a", "b")


def test_settling_puts_the_links_right_before_anything_else_is_moved(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.app.current_link.unlink()
    shop.app.current_link.symlink_to("shop_b")
    (shop.app.state_directory / "next_deploy").unlink()
    shop.world.balancer_obeys = False
    with pytest.raises(BalancerError):
        settle(shop.host, shop.app)
    assert signposts(shop) == ("shop_a", "b")


def test_a_link_that_cannot_be_replaced_is_told_and_stops_nothing(shop: Shop) -> None:
    shop.app.current_link.mkdir()
    deploy(shop.host, shop.app, "v1")
    told = [event.message for event in shop.events if isinstance(event, Warned)]
    assert any(f"The link {shop.app.current_link} does not point to shop_a." in one for one in told)
    assert (shop.app.state_directory / "next_deploy").read_text() == "b\n"
    shop.app.current_link.rmdir()
    up(shop.host, [shop.app])
    assert signposts(shop) == ("shop_a", "b")
