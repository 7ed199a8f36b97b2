from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, restart
from substitute.core.deploy.readiness.readiness import require_free
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import (
    DeploymentFailedError,
    NothingServesError,
    RuntimeFailedError,
    SubstituteError,
    UnmovedError,
)
from substitute.core.model.events import Failed, Notice, Output, Succeeded, Warned
from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.operate.root import down, up
from substitute.core.operate.status import observe
from substitute.core.ports.observer import Member
from tests.unit.fakes.observer import FakeObserver
from tests.unit.shops import A, B, live

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.fakes.shop import Shop


def test_the_first_deployment_goes_to_slot_a(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    assert live(shop) == "a"
    assert shop.world.shares == {A: 100, B: 0}
    assert set(shop.world.running) == {"shop_a"}


def test_a_deployment_admits_before_it_drains_and_drains_before_it_stops(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.log.clear()
    deploy(shop.host, shop.app, "v2")
    assert shop.world.log == [
        "update shop_b v2",
        "run make",
        "start shop_b",
        "route 3001=50 3002=50",
        "route 3001=0 3002=100",
        "stop shop_a",
    ]


def test_the_phases_are_told_in_their_order(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.events.clear()
    deploy(shop.host, shop.app, "v2")
    told = [event.phase for event in shop.events if event.event == "phase"]  # type: ignore[attr-defined]
    assert told == ["update", "build", "start", "ready", "admit", "verify", "commit", "drain", "stop"]
    last = shop.events[-1]
    assert isinstance(last, Succeeded)
    assert (last.live, last.commit, last.previous) == ("b", "v2", "v1")


def test_what_only_a_reload_of_the_balancer_brings_is_a_phase_of_its_own_when_the_candidate_is_ready(
    shop: Shop,
) -> None:
    shop.world.pending = "shop is new to it."
    deploy(shop.host, shop.app, "v1")
    told = [event.phase for event in shop.events if event.event == "phase"]  # type: ignore[attr-defined]
    assert told == ["update", "build", "start", "ready", "reload", "admit", "verify", "commit"]
    assert Output("reload", "shop is new to it.") in shop.events
    assert shop.world.log.count("reload") == 1
    last = shop.events[-1]
    assert isinstance(last, Succeeded)
    assert "reload" in last.seconds


def test_a_reload_that_fails_leaves_the_old_version_serving(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.pending, shop.world.reloads = "it is to listen elsewhere.", False
    with pytest.raises(DeploymentFailedError, match=r"held by nginx\.\nSlot a \(v1\) still serves") as told:
        deploy(shop.host, shop.app, "v2")
    assert told.value.exit_status == 1
    assert live(shop) == "a"
    assert shop.world.shares == {A: 100, B: 0}
    assert set(shop.world.running) == {"shop_a"}


def break_update(shop: Shop) -> None:
    shop.world.fetchable = False


def break_build(shop: Shop) -> None:
    shop.world.build_status = 3


def break_start(shop: Shop) -> None:
    shop.world.running["shop_b"] = next(iter(shop.world.running.values()))


def break_boot(shop: Shop) -> None:
    shop.world.boots = lambda commit: commit != "bad"


def break_health(shop: Shop) -> None:
    shop.world.healthy = lambda commit: commit != "bad"


def break_verify(shop: Shop) -> None:
    shop.change(verify={"seconds": 10.0})
    shop.world.clock.at.append((shop.world.clock.time + 5, lambda: shop.world.crash("shop_b")))


@pytest.mark.parametrize("breaks", [break_build, break_health])
def test_a_candidate_that_is_not_ready_makes_nothing_reload(
    shop: Shop, breaks: Callable[[Shop], None]
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.pending = "it is to listen elsewhere."
    breaks(shop)
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "bad")
    assert "reload" not in shop.world.log


@pytest.mark.parametrize(
    ("breaks", "phase"),
    [
        (break_update, ""),
        (break_build, "build"),
        (break_boot, "ready"),
        (break_health, "ready"),
        (break_verify, "verify"),
    ],
)
def test_a_failure_at_any_phase_leaves_the_old_version_serving(
    shop: Shop, breaks: Callable[[Shop], None], phase: str
) -> None:
    deploy(shop.host, shop.app, "v1")
    breaks(shop)
    with pytest.raises(DeploymentFailedError) as caught:
        deploy(shop.host, shop.app, None if breaks is break_update else "bad")
    assert "Slot a (v1) still serves." in str(caught.value)
    assert set(shop.world.running) == {"shop_a"}
    assert shop.world.shares == {A: 100, B: 0}
    failed = [event for event in shop.events if isinstance(event, Failed)]
    assert [event.phase for event in failed] == [phase]
    assert failed[0].live == "a"
    assert shop.host.journal.unfinished("shop") == []

    shop.world.fetchable, shop.world.build_status = True, 0
    shop.change(verify={"seconds": 0.0})
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"


def test_a_build_that_hangs_is_ended_and_the_key_that_gives_it_longer_is_named(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(build={"commands": ("make", "make test"), "timeout": 10.0})
    shop.world.build_takes = 6.0
    began = shop.world.clock.time
    with pytest.raises(
        DeploymentFailedError, match=r"had not ended after 10s: `make test` was ended"
    ) as raised:
        deploy(shop.host, shop.app, "v2")
    assert "app.shop.build_timeout" in str(raised.value)
    assert shop.world.clock.time - began < 11
    assert live(shop) == "a"


def test_verify_takes_as_long_as_it_says_however_far_apart_the_looks_are(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    health = replace(shop.app.health, interval=10.0, successes=1)
    shop.change(verify={"seconds": 1.0}, health=health)
    deploy(shop.host, shop.app, "v2")
    last = shop.events[-1]
    assert isinstance(last, Succeeded)
    assert 1.0 <= last.seconds["verify"] < 1.5


def test_a_port_that_a_stranger_holds_is_named(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")

    class Taken(type(shop.host.prober)):  # type: ignore[misc]
        def holder(self, endpoint: Endpoint) -> str | None:
            return "node (pid 812)" if endpoint == B else None

    object.__setattr__(shop.host, "prober", Taken(shop.world))
    with pytest.raises(DeploymentFailedError, match=r"node \(pid 812\)"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"


def test_a_stranger_who_took_the_live_ones_port_gets_none_of_its_requests(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.running.clear()

    class Taken(type(shop.host.prober)):  # type: ignore[misc]
        def holder(self, endpoint: Endpoint) -> str | None:
            return "python3 (pid 812)" if endpoint == A else None

    object.__setattr__(shop.host, "prober", Taken(shop.world))
    with pytest.raises(NothingServesError, match=r"python3 \(pid 812\)"):
        up(shop.host, [shop.app])
    assert shop.world.shares == {A: 0, B: 0}
    assert observe(shop.host, [shop.app])["apps"][0]["slots"]["a"]["state"] == "failed"


def test_a_failed_first_deployment_says_that_nothing_serves(shop: Shop) -> None:
    shop.world.build_status = 1
    with pytest.raises(NothingServesError):
        deploy(shop.host, shop.app, "v1")
    assert shop.world.running == {}


def test_a_balancer_that_does_not_obey_leaves_the_old_instance_alone(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(health=shop.app.health)
    run = shop.host.commands.run

    def and_break(*args: object, **options: object) -> object:
        shop.world.balancer_obeys = False
        return run(*args, **options)  # type: ignore[arg-type]

    object.__setattr__(shop.host.commands, "run", and_break)
    with pytest.raises(SubstituteError):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert "shop_a" in shop.world.running


def refuse_to_move(shop: Shop) -> None:
    class Unmoved(type(shop.host.balancer)):  # type: ignore[misc]
        def route(self, backends: object) -> None:
            raise UnmovedError("Traefik's API does not answer.")

    object.__setattr__(shop.host, "balancer", Unmoved(shop.world))


def test_a_balancer_of_the_users_own_that_cannot_be_told_serves_as_it_did(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    refuse_to_move(shop)
    with pytest.raises(DeploymentFailedError, match=r"API does not answer(.|\n)*Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}


def test_where_it_cannot_be_told_and_the_live_instance_is_gone_nothing_serves(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    refuse_to_move(shop)
    shop.world.answering["shop_a"] = False
    with pytest.raises(NothingServesError):
        deploy(shop.host, shop.app, "v2")


def test_restart_brings_the_live_commit_into_the_other_slot(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    restart(shop.host, shop.app)
    assert live(shop) == "b"
    assert shop.host.journal.app("shop").slots[SlotName.B].commit == "v1"


def test_a_live_slot_that_cannot_be_revived_does_not_stop_the_fix(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.crash("shop_a")
    shop.world.boots = lambda commit: commit != "v1"
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert set(shop.world.running) == {"shop_b"}


def test_settling_twice_changes_nothing_the_second_time(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    settle(shop.host, shop.app)
    shop.world.log.clear()
    settle(shop.host, shop.app)
    assert shop.world.log == []


def test_a_full_disk_before_the_commit_leaves_the_old_version_serving(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    object.__setattr__(shop.host.commands, "run", refuse)
    with pytest.raises(DeploymentFailedError, match="No space left"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}
    assert shop.host.journal.unfinished("shop") == []


def test_what_a_failed_candidate_left_behind_is_ended_and_named(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.healthy = lambda commit: commit != "v2"
    of_a, of_b = (str(shop.app.slots[name].directory) for name in SlotName)
    shop.world.left = {of_a: {Process(7, 7, "boot")}, of_b: {Process(8, 8, "boot")}}
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v2")
    assert shop.world.left == {of_a: {Process(7, 7, "boot")}, of_b: set()}
    assert any(
        isinstance(event, Notice) and "Slot b had left sleep running" in event.message
        for event in shop.events
    )


def test_down_ends_what_a_build_left_behind_in_a_slot_where_nothing_runs(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.left = {str(shop.app.slots[name].directory): {Process(7, 7, "boot")} for name in SlotName}
    down(shop.host, [shop.app], everything=False)
    assert not any(shop.world.left.values())


def test_each_slot_has_a_pm2_of_its_own_unless_the_app_says_otherwise(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    homes = [shop.world.programs[name].environment["PM2_HOME"] for name in ("shop_a", "shop_b")]
    assert homes == [f"{shop.app.slots[name].directory}/.git/pm2" for name in SlotName]
    deploy(shop.host, replace(shop.app, env={"PM2_HOME": "/srv/pm2"}), "v3")
    assert shop.world.programs["shop_a"].environment["PM2_HOME"] == "/srv/pm2"


def test_a_stranger_on_the_port_that_is_the_live_slots_own_is_said_to_be(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    daemon = Process(7, 7, "boot")
    shop.world.left = {str(shop.app.slots[SlotName.A].directory): {daemon}}
    shop.world.running["shop_b"] = daemon  # on the candidate's port, and no runtime's
    slot = shop.host.journal.app("shop").slots[SlotName.B]
    with pytest.raises(RuntimeFailedError, match="belongs to the instance of slot a"):
        require_free(shop.host, slot, slot.web)


def test_verify_looks_twice_and_lasts_no_longer_than_it_is_told_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify={"seconds": 1.0}, health=replace(shop.app.health, interval=10.0, successes=1))
    began = shop.world.clock.time
    deploy(shop.host, shop.app, "v2")
    assert 1.0 <= shop.world.clock.time - began < 5.0


def test_a_wrapper_that_keeps_sigterm_from_the_app_is_told_with_its_cure_and_no_other_start_line_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.change(start="cd web && exec serve")
    deploy(shop.host, shop.app, "v1")
    assert not [event for event in shop.events if isinstance(event, Warned)]

    def wrapped(
        _observer: FakeObserver, _endpoint: Endpoint, process: Process, _signal: str
    ) -> tuple[Member, ...]:
        shell = Member(process, "sh", listens=False, handles_signal=False)
        return shell, Member(Process(9, 9, "boot"), "serve", listens=True, parent=process.pid)

    monkeypatch.setattr(FakeObserver, "members", wrapped)
    deploy(shop.host, shop.app, "v2")
    (told,) = (event.message for event in shop.events if isinstance(event, Warned))
    assert "does not pass it on to serve (pid 9), which listens" in told
    assert "stop.timeout, 30s" in told
    assert "begin with `exec`" in told
