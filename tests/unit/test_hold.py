"""A candidate that waits for a person: what is told, and what becomes of it."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from substitute.console.progress import lines
from substitute.core.deploy.deployment import deploy, promote, rollback
from substitute.core.deploy.holding import abort
from substitute.core.model.apps import Order
from substitute.core.model.errors import (
    DeploymentFailedError,
    InterruptedByUserError,
    NothingServesError,
    UsageError,
)
from substitute.core.model.events import Held, PhaseStarted, Succeeded
from substitute.core.model.slots import Phase, SlotName
from substitute.core.operate.root import up
from substitute.core.operate.standbys import look_after
from tests.unit.fakes.balancer import FakeBalancer
from tests.unit.shops import notices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.ports.balancer import Backend
    from tests.unit.fakes.shop import Shop


@pytest.fixture
def held(shop: Shop) -> Shop:
    """v1 is live, and v2 is held for a minute."""
    deploy(shop.host, shop.app, "v1")
    shop.events.clear()
    deploy(shop.host, shop.app, "v2", hold_for=60.0)
    return shop


def outcomes(shop: Shop) -> list[tuple[str, str | None]]:
    return [(one.operation, one.outcome) for one in shop.host.journal.history("shop")]


def test_it_is_told_where_it_can_be_seen_and_what_to_type(held: Shop) -> None:
    (event,) = [one for one in held.events if isinstance(one, Held)]
    assert (event.slot, event.commit, event.live) == (SlotName.B, "v2", SlotName.A)
    assert held.world.clock.now() < event.until <= held.world.clock.now() + 60.0
    told = "\n".join(lines(event))
    assert f"http://here/{event.token}" in told
    assert f"X-Substitute-Preview: {event.token}" in told
    assert "`substitute promote`" in told
    assert outcomes(held)[0] == ("deploy", "held")


def test_a_balancer_that_can_lead_nobody_there_is_told_of(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBalancer, "previews", lambda *_: ())
    deploy(shop.host, shop.app, "v1", hold_for=60.0)
    (event,) = [one for one in shop.events if isinstance(one, Held)]
    told = "\n".join(lines(event))
    assert "cannot lead anybody" in told
    assert "Nothing serves yet" in told


@pytest.mark.parametrize("waits", ["held", "standing by"])
def test_one_whose_time_is_over_before_its_command_ends_is_left_to_the_guardian(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    shop.change(standby={"seconds": 5.0 * (waits == "standing by")})
    deploy(shop.host, shop.app, "v1")
    route = FakeBalancer.route

    def slow(balancer: FakeBalancer, backends: Sequence[Backend]) -> None:
        route(balancer, backends)
        if shop.host.journal.app("shop").unserved_until is not None:
            shop.world.clock.sleep(6.0)

    monkeypatch.setattr(FakeBalancer, "route", slow)
    deploy(shop.host, shop.app, "v2", hold_for=5.0 if waits == "held" else None)
    monkeypatch.setattr(FakeBalancer, "route", route)
    assert sorted(shop.world.running) == ["shop_a", "shop_b"]
    assert "handed over" in notices(shop)
    look_after(shop.host, shop.app)
    assert list(shop.world.running) == ["shop_a" if waits == "held" else "shop_b"]
    assert shop.host.journal.app("shop").unserved_until is None


def test_promoted_it_starts_nothing_and_is_verified(held: Shop) -> None:
    held.world.log.clear()
    promote(held.host, held.app)
    assert not [line for line in held.world.log if line.startswith("start ")]
    assert "route 3001=50 3002=50" in held.world.log
    (done,) = [one for one in held.events if isinstance(one, Succeeded)]
    assert (done.live, done.previous) == (SlotName.B, "v1")
    begun = [one.phase for one in held.events if isinstance(one, PhaseStarted)]
    assert begun[-6:-2] == [Phase.READY, Phase.ADMIT, Phase.VERIFY, Phase.COMMIT]
    assert outcomes(held)[:2] == [("promote", "succeeded"), ("deploy", "promoted")]
    rollback(held.host, held.app)
    assert held.host.journal.app("shop").live is SlotName.A


def test_aborted_it_is_stopped_and_what_is_live_is_not_touched(held: Shop) -> None:
    abort(held.host, held.app)
    assert list(held.world.running) == ["shop_a"]
    assert outcomes(held)[0] == ("deploy", "aborted")
    for act in (promote, abort):
        with pytest.raises(UsageError, match="No version of shop is held"):
            act(held.host, held.app)


def test_where_the_live_one_hangs_it_can_be_promoted_and_is_by_nobody_else(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2", hold_for=600.0)
    shop.world.answering["shop_a"] = False
    with pytest.raises(NothingServesError):
        up(shop.host, [shop.app])
    assert shop.host.journal.app("shop").live is SlotName.A
    promote(shop.host, shop.app)
    assert shop.host.journal.app("shop").live is SlotName.B


@pytest.mark.parametrize("ends", ["abort", "its time is over", "deploy"])
def test_whatever_ends_it_it_is_told_that_its_release_had_run(shop: Shop, ends: str) -> None:
    shop.change(release={"commands": ("migrate",)})
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2", hold_for=60.0)
    shop.events.clear()
    if ends == "abort":
        abort(shop.host, shop.app)
    elif ends == "deploy":
        deploy(shop.host, shop.app, "v3")
    else:
        shop.world.clock.sleep(60.0)
        look_after(shop.host, shop.app)
    (told,) = [line for line in notices(shop).splitlines() if "what that changed stays" in line]
    assert "Its release had run" in told


def test_one_that_does_not_answer_any_more_is_stopped_by_its_promotion(held: Shop) -> None:
    held.world.answering["shop_b"] = False
    with pytest.raises(
        DeploymentFailedError, match=r"(?s)does not answer any more.*Slot a \(v1\) still serves"
    ):
        promote(held.host, held.app)
    assert held.host.journal.app("shop").hold is None
    assert list(held.world.running) == ["shop_a"]


def test_after_ctrl_c_in_its_promotion_it_is_held_again_and_that_is_told(held: Shop) -> None:
    held.change(verify={"seconds": 10.0})
    held.world.clock.at.append((held.world.clock.time + 5, lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(InterruptedByUserError) as interrupted:
        promote(held.host, held.app)
    assert held.host.journal.app("shop").hold is not None
    assert sorted(held.world.running) == ["shop_a", "shop_b"]
    assert "is stopped" not in notices(held)
    told = str(interrupted.value)
    assert "Slot a (v1) still serves." in told
    assert re.search(r"Slot b \(v2\) is held again until \d{4}-\d\d-\d\d ", told)
    assert "`substitute promote`" in told
    assert "`substitute abort`" in told


def test_the_next_deployment_takes_its_slot(held: Shop) -> None:
    deploy(held.host, held.app, "v3")
    assert outcomes(held)[:2] == [("deploy", "succeeded"), ("deploy", "aborted")]
    assert "needed its slot" in held.host.journal.history("shop")[1].reason


def test_what_cannot_run_twice_cannot_be_held(shop: Shop) -> None:
    shop.change(order=Order.STOP_FIRST, hold=30.0)
    with pytest.raises(UsageError, match="cannot be held"):
        deploy(shop.host, shop.app, "v1", hold_for=60.0)
