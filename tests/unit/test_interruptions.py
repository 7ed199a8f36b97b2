"""Signals, and deployers that were killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import DeploymentFailedError, InterruptedByUserError
from substitute.core.model.events import Succeeded
from substitute.core.model.slots import SlotName
from substitute.core.operate.root import up
from substitute.core.ports.source import Revision
from substitute.core.state.lock import RECOVERY
from tests.unit.shops import A, B, live, notices, stopping

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_commit_leaves_the_old_version_serving(shop: Shop, number: int) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify={"seconds": 10.0})
    shop.world.clock.at.append((shop.world.clock.time + 5, lambda: os.kill(os.getpid(), number)))
    with pytest.raises(InterruptedByUserError):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}
    assert shop.host.journal.history("shop")[0].outcome == "interrupted"


def test_a_second_signal_in_the_drain_leaves_it_to_the_guardian(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    for seconds in (1, 2):
        at = shop.world.clock.time + seconds
        shop.world.clock.at.append((at, lambda: os.kill(os.getpid(), signal.SIGINT)))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.live, ended.drained.handed_over) == ("b", True)
    assert "slot b is live" in notices(shop)
    assert "Slot a finishes the requests that it has, for at most 30s (drain.timeout)" in notices(shop)
    assert "handed over" in notices(shop)
    assert shop.host.journal.history("shop")[0].outcome == "succeeded"
    assert set(shop.world.running) == {"shop_a", "shop_b"}
    shop.world.in_flight[A] = 0
    up(shop.host, [shop.app], operation=RECOVERY)
    assert set(shop.world.running) == {"shop_b"}


def test_where_the_other_version_is_live_again_a_second_signal_claims_nothing_else(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[B] = 1
    commit = shop.host.journal.commit

    def and_die(*args: object, **options: object) -> None:
        commit(*args, **options)  # type: ignore[arg-type]
        shop.world.crash("shop_b")
        for seconds in (8, 9):
            at = shop.world.clock.time + seconds
            shop.world.clock.at.append((at, lambda: os.kill(os.getpid(), signal.SIGINT)))

    shop.host.journal.commit = and_die  # type: ignore[method-assign]
    with pytest.raises(DeploymentFailedError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"


def test_a_second_signal_while_an_interrupted_candidate_drains_leaves_it_to_the_guardian(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify={"seconds": 10.0})
    shop.world.in_flight[B] = 1
    for seconds in (5, 7):
        at = shop.world.clock.time + seconds
        shop.world.clock.at.append((at, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(InterruptedByUserError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert "Slot b is stopped, which takes at most 60s" in notices(shop)
    assert "handed over" in notices(shop)
    assert shop.world.shares == {A: 100, B: 0}
    assert set(shop.world.running) == {"shop_a", "shop_b"}


def test_a_signal_while_the_old_instance_exits_says_what_is_live_and_how_long_it_takes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    stopping(shop, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    deploy(shop.host, shop.app, "v2")
    assert (
        "SIGTERM comes too late: slot b is live (`substitute rollback` goes back). "
        "Slot a has at most 30s to exit (stop.timeout)."
    ) in notices(shop)


def test_a_signal_after_the_commit_does_not_stop_the_deployment(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        shop.world.in_flight[A] = 0

    shop.world.clock.at.append((shop.world.clock.time + 1, interrupt))
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert set(shop.world.running) == {"shop_b"}


def test_a_signal_while_an_instance_is_looked_at_is_not_taken_for_a_runtime_that_is_silent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")

    def interrupted(_: str) -> None:
        raise InterruptedByUserError("Interrupted by SIGTERM.")

    monkeypatch.setattr(shop.host.runtime, "inspect", interrupted)
    with pytest.raises(InterruptedByUserError):
        shop.host.inspect(shop.host.journal.app("shop").slots[SlotName.A].web[0])


def test_a_killed_deployer_is_settled_by_the_next_command(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    journal = shop.host.journal
    journal.begin("shop", SlotName.B, "deploy", revision=Revision("v2", "", ""), previous="v1", now=0)
    shop.world.files[str(shop.app.slots[SlotName.B].directory)] = "v2"
    slot = journal.app("shop").slots[SlotName.B]
    shop.host.runtime.start(shop.host.program(shop.app, slot, slot.web[0], {}))
    settle(shop.host, shop.app)
    assert set(shop.world.running) == {"shop_a"}
    assert journal.history("shop")[0].outcome == "interrupted"


def test_an_uncommitted_candidate_does_not_take_the_place_of_a_live_one_that_can_be_revived(
    shop: Shop,
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify={"seconds": 10.0})

    def trouble() -> None:
        shop.world.crash("shop_a")
        os.kill(os.getpid(), signal.SIGINT)

    shop.world.clock.at.append((shop.world.clock.time + 5, trouble))
    with pytest.raises(InterruptedByUserError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}
    assert shop.world.shares == {A: 100, B: 0}


def test_settling_tells_no_running_deployment_that_its_deployer_was_killed(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.crash("shop_b")))
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v2")
    assert not [event for event in shop.events if "killed" in getattr(event, "message", "")]
    assert "stopped answering" in shop.host.journal.history("shop")[0].reason
    assert shop.host.journal.rollback_commit("shop", "v1") is None
