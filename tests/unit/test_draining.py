"""What the old instance still has in flight, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.core.deploy.deployment import deploy
from substitute.core.deploy.running.streams import due
from substitute.core.model.app_settings import Waves
from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.errors import DeploymentFailedError
from substitute.core.model.events import Succeeded, Warned
from substitute.core.model.health import Health
from substitute.core.model.programs import Limits, Process
from substitute.core.operate import root
from substitute.core.state.drain_now import draining_now, wanted_at_once
from substitute.core.state.lock import RECOVERY, holder_of
from substitute.core.state.remembered import remembered
from tests.unit.shops import A, B, live, stopping

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def test_requests_in_flight_are_waited_for_and_counted(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 3
    shop.world.clock.at.append((shop.world.clock.time + 2, lambda: shop.world.in_flight.update({A: 0})))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.finished, ended.drained.cut) == (3, 0)


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
    assert shop.world.clock.time - began > shop.app.drain.timeout
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


@pytest.mark.parametrize("lives", [True, False])
def test_whoever_cannot_wait_cuts_a_drain_short_and_only_while_he_lives(shop: Shop, *, lives: bool) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    who = Process(4711, 1, "boot")
    if lives:
        shop.world.running["who deploys"] = who
    began = shop.world.clock.time
    with draining_now(shop.host.journal, "shop", who):
        deploy(shop.host, shop.app, "v2")
    took = shop.world.clock.time - began
    assert (took < shop.app.drain.timeout) == lives
    assert [
        told for told in shop.events if isinstance(told, Warned) and "--now was typed" in told.message
    ] or not lives
    assert wanted_at_once(shop.host.journal, "shop") is None


@given(
    streams=st.integers(0, 10_000),
    after=st.floats(0, 100),
    over=st.floats(0, 1000),
    moments=st.lists(st.floats(0, 1200), max_size=20),
)
def test_waves_begin_and_end_at_their_times_and_never_take_back_what_was_due(
    streams: int, after: float, over: float, moments: list[float]
) -> None:
    waves = Waves(after, over)
    found = [due(streams, moment, waves) for moment in sorted(moments)]
    assert found == sorted(found)
    assert due(streams, after - 0.001, waves) == 0
    assert due(streams, waves.end + 0.001, waves) == streams
    assert min(streams, 1) <= due(streams, after, waves) <= streams


def test_waves_are_spread_evenly() -> None:
    waves = Waves(after=5, over=30)
    each = [due(3100, second + 0.5, waves) - due(3100, second - 0.5, waves) for second in range(5, 36)]
    assert each == [100] * 31
    few = [due(3, second, waves) for second in (4.9, 5, 14.5, 15.5, 24.5, 25.5, 35)]
    assert few == [0, 1, 1, 2, 2, 3, 3]


def test_streams_end_one_after_another_while_requests_finish_and_none_counts_as_cut(shop: Shop) -> None:
    shop.change(drain={"waves": Waves(after=5.0, over=20.0)})
    deploy(shop.host, shop.app, "v1")
    shop.world.streams[A] = [f"stream {number}" for number in range(10)]
    shop.world.streams[B] = ["of the new version"]
    shop.world.in_flight[A] = 12
    switched = shop.world.clock.time
    finish = shop.world.clock.time + 28
    shop.world.clock.at.append((finish, lambda: shop.world.in_flight.update({A: 0})))
    deploy(shop.host, shop.app, "v2")
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.streams, ended.drained.finished, ended.drained.cut) == (10, 2, 0)
    moments = [moment - switched for moment, _ in shop.world.ended]
    assert len({round(moment) for moment in moments}) == 10
    assert 5 <= moments[0] < 7
    assert moments[-1] < 27
    assert shop.world.streams[B] == ["of the new version"]


def test_waves_that_take_longer_than_a_drain_are_waited_for(shop: Shop) -> None:
    shop.change(drain={"waves": Waves(after=5.0, over=60.0)})
    deploy(shop.host, shop.app, "v1")
    shop.world.streams[A] = ["one", "two"]
    shop.world.in_flight[A] = 2
    shop.world.blind_until = (
        shop.world.clock.time + 50
    )  # it is asked again; then most of them are due at once
    began = shop.world.clock.time
    deploy(shop.host, shop.app, "v2")
    assert shop.world.clock.time - began > shop.app.drain.timeout
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.streams, ended.drained.cut, ended.drained.at_sigterm) == (2, 0, 0)


def test_what_becomes_a_stream_while_others_end_is_ended_too(shop: Shop) -> None:
    shop.change(drain={"waves": Waves(after=0.0, over=2.0), "timeout": 60.0})
    deploy(shop.host, shop.app, "v1")
    shop.world.streams[A] = ["early"]
    shop.world.in_flight[A] = 3
    for seconds, name in ((1.5, "late"), (5.0, "later")):
        moment = shop.world.clock.time + seconds
        shop.world.clock.at.append((moment, lambda name=name: shop.world.streams[A].append(name)))  # type: ignore[misc]
    deploy(shop.host, shop.app, "v2")
    assert [name for _, name in shop.world.ended] == ["early", "late", "later"]
    ended = shop.events[-1]
    assert isinstance(ended, Succeeded)
    assert (ended.drained.streams, ended.drained.cut) == (3, 0)


def test_whoever_cannot_read_the_configuration_knows_the_waves_from_the_journal(shop: Shop) -> None:
    shop.change(drain={"waves": Waves(after=5.0, over=30.0)})
    shop.host.journal.register(shop.app)
    assert remembered(shop.host.journal, shop.host.root, "shop").drain.waves == shop.app.drain.waves
    shop.change(drain={"waves": None})
    shop.host.journal.register(shop.app)
    assert remembered(shop.host.journal, shop.host.root, "shop").drain.waves is None


@pytest.mark.parametrize("lives", [True, False])
def test_whoever_goes_back_does_not_wait_until_what_stands_by_may_be_frozen_and_cuts_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, lives: bool
) -> None:
    frozen: list[str] = []
    monkeypatch.setattr(shop.host.runtime, "freeze", frozen.append)
    shop.change(standby={"seconds": 600.0, "frozen": True})
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    who, began = Process(4711, 1, "boot"), shop.world.clock.time
    if lives:
        shop.world.running["who goes back"] = who
    with draining_now(shop.host.journal, "shop", who, cuts=False):
        deploy(shop.host, shop.app, "v2")
    assert (shop.world.clock.time - began < shop.app.drain.timeout) == lives
    assert not frozen, "it still has a request"
    assert not [told for told in shop.events if isinstance(told, Warned)], "it is not told to stop"


@pytest.mark.parametrize("left", ["a worker", "requests"])
def test_of_what_stands_by_it_is_not_said_that_it_is_stopped_while_it_finishes_behind_the_command(
    shop: Shop, left: str
) -> None:
    has_worker = left == "a worker"
    shop.change(
        standby={"seconds": 600.0, "frozen": not has_worker},
        drain={"background": True},
        processes={"worker": finishing_behind()} if has_worker else {},
    )
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    ended = [one for one in shop.events if isinstance(one, Succeeded)][-1]
    assert (ended.drained.handed_over, ended.drained.stands_by) == (True, True)


def finishing_behind() -> ProcessType:
    runs = Health("runs", "", None, timeout=1.0, interval=0.1, successes=1)
    return ProcessType(
        *("work", 1, Order.START_FIRST, runs, 30.0),
        user=None,
        limits=Limits(),
        env={},
        background=True,
    )


def test_whoever_goes_back_cuts_no_drain_of_what_is_to_stop(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 1
    shop.world.running["who goes back"] = who = Process(4711, 1, "boot")
    began = shop.world.clock.time
    with draining_now(shop.host.journal, "shop", who, cuts=False):
        deploy(shop.host, shop.app, "v2")
    assert shop.world.clock.time - began >= shop.app.drain.timeout


def test_a_guardian_that_drains_tells_by_its_lock_what_it_waits_for(shop: Shop) -> None:
    shop.change(drain={"background": True})
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight[A] = 2
    deploy(shop.host, shop.app, "v2")
    told: list[tuple[str, str]] = []

    def look() -> None:
        holder = holder_of(shop.host.lock_path("shop"))
        assert holder
        told.append((holder.phase, holder.doing))

    began = shop.world.clock.time
    shop.world.clock.at.append((began + 1.0, look))
    shop.world.clock.at.append((began + 2.0, lambda: shop.world.in_flight.update({A: 1})))
    shop.world.clock.at.append((began + 3.0, look))
    root.up(shop.host, [shop.app], guests=False, operation=RECOVERY)
    assert told == [
        ("drain", "Slot a still finishes 2 requests, for at most 30s in all (drain.timeout)."),
        ("drain", "Slot a still finishes 1 request, for at most 30s in all (drain.timeout)."),
    ]
