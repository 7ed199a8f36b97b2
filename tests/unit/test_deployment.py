from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.check.check import check
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.deploy.readiness import require_free
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import (
    BalancerError,
    DeploymentFailedError,
    InterruptedByUserError,
    NothingServesError,
    RuntimeFailedError,
    SourceError,
    SubstituteError,
    UnmovedError,
    UsageError,
)
from substitute.core.model.events import Failed, Notice, Output, PhaseStarted, Succeeded, Unchanged, Warned
from substitute.core.model.programs import Process, Stopped
from substitute.core.model.slots import Endpoint, Phase, SlotName
from substitute.core.operate.manual import stop
from substitute.core.operate.root import down, up
from substitute.core.operate.status import observe
from substitute.core.ports.observer import Member
from substitute.core.ports.source import Revision
from substitute.core.state.deployment_log import Transcript, path_of
from substitute.core.state.lock import RECOVERY
from tests.unit.fakes import FakeObserver, FakeSource, make_slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.core.model.events import Event
    from tests.unit.fakes import Shop

A, B = Endpoint("127.0.0.1", 3001), Endpoint("127.0.0.1", 3002)


def live(shop: Shop) -> str | None:
    return shop.host.journal.app("shop").live


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
    shop.change(verify_for=10.0)
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
    shop.change(verify_for=0.0)
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"


def test_a_build_that_hangs_is_ended_and_the_key_that_gives_it_longer_is_named(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(build=("make", "make test"), build_timeout=10.0)
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
    shop.change(verify_for=1.0, health=health)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_commit_leaves_the_old_version_serving(shop: Shop, number: int) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify_for=10.0)
    shop.world.clock.at.append((shop.world.clock.time + 5, lambda: os.kill(os.getpid(), number)))
    with pytest.raises(InterruptedByUserError):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}
    assert shop.host.journal.history("shop")[0].outcome == "interrupted"


def notices(shop: Shop) -> str:
    return "\n".join(event.message for event in shop.events if isinstance(event, Notice))


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
    shop.change(verify_for=10.0)
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
        shop.host.inspect(shop.host.journal.app("shop").slots[SlotName.A])


def test_requests_in_flight_are_waited_for_and_counted(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 3
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.in_flight.update({A: 0})))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.finished, ended.drained.cut) == (3, 0)


def stopping(shop: Shop, monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Have `what` happen while an instance exits."""
    stop = shop.host.runtime.stop

    def and_more(*args: Any, **options: Any) -> Stopped:
        what()
        return stop(*args, **options)

    monkeypatch.setattr(shop.host.runtime, "stop", and_more)


@pytest.mark.parametrize(
    ("fail", "finished", "cut"),
    [(0, 3, 0), (1, 2, 1), (9, 1, 2)],
    ids=["it finishes them after SIGTERM", "one is cut", "others fail too"],
)
def test_what_outlives_the_drain_timeout_is_cut_where_the_balancer_sees_it_fail(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fail: int, finished: int, cut: int
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A], shop.world.cut[A] = 3, 7
    shop.world.clock.at.append((shop.world.clock.time + 1, lambda: shop.world.in_flight.update({A: 2})))

    def end() -> None:
        shop.world.in_flight[A] = 0
        shop.world.cut[A] += fail

    stopping(shop, monkeypatch, end)
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    drained = ended.drained
    assert (drained.finished, drained.cut, drained.at_sigterm) == (finished, cut, 2)


def test_what_an_instance_had_at_sigterm_that_must_be_killed_counts_as_cut(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 2
    shop.world.stubborn.add("shop_a")
    stopping(shop, monkeypatch, lambda: shop.world.in_flight.update({A: 0}))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.finished, ended.drained.cut) == (0, 2)


@pytest.mark.parametrize(
    ("in_flight", "counts", "said", "unsaid"),
    [
        (1, True, "still has 1 request after 30s (app.shop.drain.timeout)", "onnection"),
        (2, True, "still has 2 requests after", "onnection"),
        (1, False, "still has 1 open connection after 30s (app.shop.drain.timeout)", "WebSocket"),
        (2, False, "idle connections that your balancer keeps", "WebSocket"),
    ],
)
def test_what_outlives_the_drain_timeout_is_told_as_what_the_balancer_can_tell(
    shop: Shop,
    in_flight: int,
    counts: bool,  # noqa: FBT001
    said: str,
    unsaid: str,
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A], shop.world.counts_requests = in_flight, counts
    deploy(shop.host, shop.app, "v2")
    (told,) = [event.message for event in shop.events if isinstance(event, Warned)]
    assert said in told
    assert unsaid not in told
    assert "It gets SIGTERM now, and 30s to finish" in told
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    drained = ended.drained
    assert (drained.connections, drained.at_sigterm) == (not counts, in_flight)
    assert drained.cut == (0 if counts else in_flight)


def test_a_balancer_that_can_not_tell_at_this_moment_is_asked_again(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 3
    shop.world.blind_until = shop.world.clock.time + 3
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.in_flight.update({A: 1})))
    shop.world.clock.at.append((shop.world.clock.time + 4, lambda: shop.world.in_flight.update({A: 0})))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.finished, ended.drained.cut) == (1, 0)


def test_one_that_never_tells_again_is_waited_for_as_long_as_a_drain_may_take(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    began, shop.world.blind_until = shop.world.clock.time, 1e9
    deploy(shop.host, shop.app, "v2")
    assert shop.world.clock.time - began > shop.app.drain_timeout
    assert "is not known. The balancer does not say." in "".join(
        event.message for event in shop.events if isinstance(event, Warned)
    )


def test_a_new_version_that_dies_while_the_old_one_drains_gives_way_to_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.crash("shop_b")))
    with pytest.raises(DeploymentFailedError, match="Slot a"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert shop.world.shares == {A: 100, B: 0}
    assert set(shop.world.running) == {"shop_a"}


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


def test_rollback_starts_the_earlier_slot_as_it_stands_and_twice_toggles(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    shop.world.log.clear()
    rollback(shop.host, shop.app)
    assert live(shop) == "a"
    assert not [line for line in shop.world.log if line.startswith(("update", "run"))]
    rollback(shop.host, shop.app)
    assert live(shop) == "b"


def test_rollback_builds_again_where_the_slot_was_overwritten(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    shop.world.build_status = 1
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v3")
    shop.world.build_status = 0
    shop.world.log.clear()
    rollback(shop.host, shop.app)
    assert shop.world.log[:2] == ["update shop_a v1", "run make"]


def test_rollback_with_nothing_to_go_back_to_says_so(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    with pytest.raises(UsageError, match="no earlier version"):
        rollback(shop.host, shop.app)
    assert live(shop) == "a"


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


def test_a_killed_deployer_is_settled_by_the_next_command(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    journal = shop.host.journal
    journal.begin("shop", SlotName.B, "deploy", revision=Revision("v2", "", ""), previous="v1", now=0)
    shop.world.files[str(shop.app.slots[SlotName.B].directory)] = "v2"
    shop.host.runtime.start(shop.host.program(shop.app, journal.app("shop").slots[SlotName.B], {}))
    settle(shop.host, shop.app)
    assert set(shop.world.running) == {"shop_a"}
    assert journal.history("shop")[0].outcome == "interrupted"


def test_settling_twice_changes_nothing_the_second_time(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    settle(shop.host, shop.app)
    shop.world.log.clear()
    settle(shop.host, shop.app)
    assert shop.world.log == []


def test_output_of_the_build_is_told_and_kept_in_the_deployments_log(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    assert any(isinstance(event, Output) and event.line == "output" for event in shop.events)
    assert "output" in (shop.app.log_directory / "deployment-1.log").read_text()


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
    with pytest.raises(RuntimeFailedError, match="belongs to the instance of slot a"):
        require_free(shop.host, shop.host.journal.app("shop").slots[SlotName.B])


def test_the_newest_fifty_logs_of_an_app_are_kept_however_its_numbers_jump(shop: Shop) -> None:
    directory = shop.app.log_directory
    directory.mkdir(parents=True)
    for number in range(3, 303, 3):
        (directory / f"deployment-{number}.log").touch()
    (directory / "a.log").touch()
    Transcript(shop.app, 1000).close()
    kept = sorted(int(file.stem.split("-")[1]) for file in directory.glob("deployment-*.log"))
    assert kept == [*range(303 - 3 * 49, 303, 3), 1000]
    assert (directory / "a.log").exists()


# -- after the commit -----------------------------------------------------------------------------


def refuse_to_stop(shop: Shop, error: Exception) -> None:
    """No instance can be stopped."""

    def stop(*_args: object, **_options: object) -> None:
        raise error

    object.__setattr__(shop.host.runtime, "stop", stop)


@pytest.mark.parametrize("error", [RuntimeFailedError("shop_a cannot be ended."), RuntimeError("a surprise")])
def test_an_old_instance_that_can_not_be_stopped_fails_no_deployment_and_is_told(
    shop: Shop, error: Exception
) -> None:
    deploy(shop.host, shop.app, "v1")
    refuse_to_stop(shop, error)
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert shop.world.shares == {A: 0, B: 100}
    assert isinstance(shop.events[-1], Succeeded)
    told = [event.message for event in shop.events if isinstance(event, Warned)]
    assert any(
        str(error) in one and "It gets no requests. `substitute up` tries again." in one for one in told
    )
    assert shop.host.journal.history("shop")[0].outcome == "succeeded"


def test_a_rollback_goes_to_what_was_live_though_its_deployment_did_not_end_well(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    deploy(shop.host, shop.app, "v3")
    with closing(sqlite3.connect(shop.host.journal.path, isolation_level=None)) as db:
        db.execute("UPDATE deployment SET outcome = 'failed' WHERE hash = 'v2'")
    rollback(shop.host, shop.app)
    assert shop.host.journal.app("shop").slots[SlotName.B].commit == "v2"
    assert live(shop) == "b"


@pytest.mark.parametrize("hook", ["pre_stop", "post_stop", "end"])
def test_a_hook_that_can_not_be_run_after_the_commit_is_told_and_fails_nothing(shop: Shop, hook: str) -> None:
    deploy(shop.host, shop.app, "v1")
    path = shop.app.state_directory / "hooks" / hook
    path.parent.mkdir()
    path.touch(mode=0o755)
    run = shop.host.commands.run

    def fail(argv: list[str], **options: object) -> object:
        if hook in argv[-1]:
            raise RuntimeError("a surprise")
        return run(argv, **options)  # type: ignore[arg-type]

    object.__setattr__(shop.host.commands, "run", fail)
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert any("a surprise" in event.message for event in shop.events if isinstance(event, Warned))


@pytest.mark.parametrize("answers", [True, False])
def test_where_all_traffic_can_not_be_moved_after_the_commit_it_is_said_who_serves(
    shop: Shop,
    answers: bool,  # noqa: FBT001
) -> None:
    deploy(shop.host, shop.app, "v1")
    commit = shop.host.journal.commit

    def and_break(*args: object, **options: object) -> None:
        commit(*args, **options)  # type: ignore[arg-type]
        shop.world.balancer_obeys = False
        shop.world.answering["shop_b"] = answers
        shop.world.answering["shop_a"] = answers

    shop.host.journal.commit = and_break  # type: ignore[method-assign]
    if answers:
        with pytest.raises(
            DeploymentFailedError, match=r"Slot b \(v2\) serves now. Slot a may get requests too"
        ):
            deploy(shop.host, shop.app, "v2")
    else:
        with pytest.raises(NothingServesError):
            deploy(shop.host, shop.app, "v2")


# -- what a deployment costs a rollback -----------------------------------------------------------


def updating(monkeypatch: pytest.MonkeyPatch, *failures: str) -> None:
    """Have each update to one of `failures` change the files and fail then."""
    update = FakeSource.update

    def and_fail(self: FakeSource, directory: Path, commit: str, *, clean: bool) -> None:
        update(self, directory, commit, clean=clean)
        if commit in failures:
            raise SourceError("git failed.")

    monkeypatch.setattr(FakeSource, "update", and_fail)


def test_what_is_given_up_before_anything_ran_leaves_the_version_before_as_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    before = shop.host.journal.app("shop").slots[SlotName.A]
    updating(monkeypatch, "v3")
    with pytest.raises(DeploymentFailedError) as raised:
        deploy(shop.host, shop.app, "v3")
    assert "has to build" not in str(raised.value)
    assert "Slot a holds v1 again: a rollback starts it as it stands." in notices(shop)
    assert shop.host.journal.app("shop").slots[SlotName.A] == before
    shop.world.log.clear()
    rollback(shop.host, shop.app)
    assert "run make" not in shop.world.log
    assert (live(shop), shop.world.files[str(before.directory)]) == ("a", "v1")


@pytest.mark.parametrize("what", ["a build ran", "it would not come back", "untracked files were removed"])
def test_what_can_not_be_put_back_is_not_and_the_failure_says_what_a_rollback_costs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    if what == "a build ran":
        shop.world.build_status = 1
    else:
        updating(monkeypatch, "v3")
        shop.world.returns = what != "it would not come back"
        shop.change(clean=what == "untracked files were removed")
    with pytest.raises(
        DeploymentFailedError, match="A rollback to v1 has to build it again: slot a was over"
    ):
        deploy(shop.host, shop.app, "v3")
    assert not shop.host.journal.app("shop").slots[SlotName.A].intact
    shop.world.build_status = 0
    rollback(shop.host, shop.app)
    assert shop.host.journal.app("shop").slots[SlotName.A].commit == "v1"


def test_files_that_can_not_be_changed_back_are_told_and_stop_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    updating(monkeypatch, "v3", "v1")
    with pytest.raises(DeploymentFailedError, match="A rollback to v1 has to build it again"):
        deploy(shop.host, shop.app, "v3")
    told = [event.message for event in shop.events if isinstance(event, Warned)]
    assert told == ["The files of slot a can't be changed back to v1. git failed."]
    shop.events.clear()
    up(shop.host, [shop.app])
    assert not [event for event in shop.events if isinstance(event, Warned)]


def test_what_a_killed_deployer_had_overwritten_is_put_back_by_whoever_settles(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    before = shop.host.journal.app("shop").slots[SlotName.A]
    shop.host.journal.spoil("shop", SlotName.A, returns_from="v3")
    shop.world.files[str(before.directory)] = "v3"
    up(shop.host, [shop.app], operation=RECOVERY)
    assert shop.host.journal.app("shop").slots[SlotName.A] == before
    assert shop.world.files[str(before.directory)] == "v1"


TYPED: dict[str, tuple[Callable[[Shop], object], str]] = {
    "another version": (
        lambda shop: deploy(shop.host, shop.app, "v3"),
        "until this deployment is live, a rollback has to build it again.",
    ),
    "the version before": (
        lambda shop: deploy(shop.host, shop.app, "v1"),
        "`substitute rollback` makes it live without building",
    ),
    "the same version": (
        lambda shop: deploy(shop.host, shop.app, "v2"),
        "after this deploy a rollback has to build",
    ),
    "a restart": (
        lambda shop: restart(shop.host, shop.app),
        "after this restart a rollback has to build it again.",
    ),
    "a check": (
        lambda shop: check(shop.host, shop.app, "v3"),
        "after this check a rollback has to build it again.",
    ),
}


@pytest.mark.parametrize("typed", TYPED)
def test_it_is_said_before_anything_is_changed_what_it_costs_a_rollback(shop: Shop, typed: str) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    assert "rollback" not in notices(shop)  # there was nothing to lose
    shop.world.log.clear()
    told: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Notice) and "rollback" in event.message:
            assert not [done for done in shop.world.log if done.startswith("update")]
            told.append(event.message)

    act, said = TYPED[typed]
    shop.host = replace(shop.host, emit=note)
    act(shop)
    assert len(told) == 1
    assert said in told[0]


def test_where_a_rollback_has_to_build_anyway_nothing_is_said_of_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    shop.world.build_status = 1
    for version in ("v3", "v4"):
        shop.events.clear()
        with pytest.raises(DeploymentFailedError):
            deploy(shop.host, shop.app, version)
    assert "rollback" not in notices(shop)


# -- nothing changed, and the history -------------------------------------------------------------


def operations(shop: Shop) -> list[str]:
    return [one.operation for one in shop.host.journal.history("shop")]


def test_with_if_changed_what_is_live_already_is_left_alone(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1", if_changed=True)
    shop.world.log.clear()
    shop.events.clear()
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert shop.world.log == []
    assert operations(shop) == ["deploy"]
    assert [event for event in shop.events if not isinstance(event, Notice)] == [
        Unchanged("shop", SlotName.A, "v1")
    ]
    deploy(shop.host, shop.app, "v2", if_changed=True)
    assert live(shop) == "b"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"start": "serve --fast"}, "start"),
        ({"env": {"A": "1"}}, "env"),
        ({"stop_timeout": 5.0}, "stop.timeout"),
    ],
)
def test_an_edited_configuration_is_a_change_and_is_named(
    shop: Shop, changes: dict[str, object], key: str
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(**changes)
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert live(shop) == "b"
    assert f"v1 is live already. In substitute.toml changed since: {key}." in notices(shop)


def test_other_ports_are_a_change(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(slots=make_slots(shop.app.root, "shop", 3003, 3004))
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert "changed since: ports." in notices(shop)
    assert live(shop) == "b"


def test_what_is_live_and_does_not_serve_is_deployed_whatever_its_commit(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert operations(shop) == ["deploy", "deploy"]
    assert shop.world.shares == {A: 0, B: 100}


def test_that_nothing_changed_is_said_in_any_case(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    assert "Nothing changed" not in notices(shop)
    deploy(shop.host, shop.app, "v1")
    assert "Nothing changed: v1 is live already. It is built and started again" in notices(shop)
    assert live(shop) == "b"
    shop.events.clear()
    restart(shop.host, shop.app)
    assert "Nothing changed" not in notices(shop)


def test_the_history_knows_what_a_commit_was_and_who_typed_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    rollback(shop.host, shop.app)
    known = [(one.subject, one.how, one.user) for one in shop.host.journal.history("shop")]
    assert known == [
        ("a change", "as it stands", "ada"),
        *[("a change", "branch main of origin", "ada")] * 2,
    ]


def test_the_log_of_a_deployment_says_how_it_ended(shop: Shop) -> None:
    shop.world.build_status = 2
    with pytest.raises(NothingServesError):
        deploy(shop.host, shop.app, "v1")
    assert (
        "== failed in build: The build command `make` failed with exit status 2."
        in path_of(shop.app, 1).read_text()
    )


# -- signposts ------------------------------------------------------------------------------------


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


# -- what may become live -------------------------------------------------------------------------


def test_an_uncommitted_candidate_does_not_take_the_place_of_a_live_one_that_can_be_revived(
    shop: Shop,
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify_for=10.0)

    def trouble() -> None:
        shop.world.crash("shop_a")
        os.kill(os.getpid(), signal.SIGINT)

    shop.world.clock.at.append((shop.world.clock.time + 5, trouble))
    with pytest.raises(InterruptedByUserError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert live(shop) == "a"
    assert set(shop.world.running) == {"shop_a"}
    assert shop.world.shares == {A: 100, B: 0}


def test_verify_looks_twice_and_lasts_no_longer_than_it_is_told_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(verify_for=1.0, health=replace(shop.app.health, interval=10.0, successes=1))
    began = shop.world.clock.time
    deploy(shop.host, shop.app, "v2")
    assert 1.0 <= shop.world.clock.time - began < 5.0


def test_settling_tells_no_running_deployment_that_its_deployer_was_killed(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.crash("shop_b")))
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v2")
    assert not [event for event in shop.events if "killed" in getattr(event, "message", "")]
    assert "stopped answering" in shop.host.journal.history("shop")[0].reason
    assert shop.host.journal.rollback_commit("shop", "v1") is None


def test_a_wrapper_that_keeps_sigterm_from_the_app_is_told_with_its_cure_and_no_other_start_line_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.change(start="cd web && exec serve")
    deploy(shop.host, shop.app, "v1")
    assert not [event for event in shop.events if isinstance(event, Warned)]

    def wrapped(_observer: FakeObserver, _endpoint: Endpoint, process: Process) -> tuple[Member, ...]:
        shell = Member(process, "sh", listens=False, handles_sigterm=False)
        return shell, Member(Process(9, 9, "boot"), "serve", listens=True, parent=process.pid)

    monkeypatch.setattr(FakeObserver, "members", wrapped)
    deploy(shop.host, shop.app, "v2")
    (told,) = (event.message for event in shop.events if isinstance(event, Warned))
    assert "does not pass it on to serve (pid 9), which listens" in told
    assert "stop.timeout, 30s" in told
    assert "begin with `exec`" in told
