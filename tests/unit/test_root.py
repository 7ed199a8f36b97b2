"""`up` and `down`, which work on every app of a root."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.errors import (
    InterruptedByUserError,
    LockedError,
    NothingServesError,
    RemainsError,
    UsageError,
)
from substitute.core.model.events import Warned
from substitute.core.model.slots import SlotName
from substitute.core.operate import manual, root
from substitute.core.operate.status import observe
from substitute.core.state.lock import deployment_lock, holder_of
from tests.unit.world.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.fakes.shop import Shop


@pytest.fixture
def world() -> Iterator[World]:
    """Version v1 of both apps is live; then the power was lost."""
    made = World()
    for app in made.apps.values():
        made.run("deploy", [app.name], lambda host, app=app: deploy(host, app, "v1"))  # type: ignore[misc]
    yield made
    made.close()


def up(world: World) -> None:
    root.up(world.host, world.apps.values())


def test_an_app_that_is_worked_on_keeps_no_other_one_down(world: World) -> None:
    world.lose_power(lately_written=True)
    with (
        deployment_lock(world.host.lock_path("shop"), "deploy"),
        pytest.raises(LockedError, match="shop: Another command is working") as raised,
    ):
        up(world)
    assert raised.value.exit_status == 3
    assert world.serves("blog")
    up(world)
    assert world.serves("shop")


def refuse(world: World, name: str, error: Exception) -> None:
    """Nothing of the app `name` can be registered."""
    register = world.host.journal.register

    def unless(app: object) -> None:
        if app is world.apps[name]:
            raise error
        register(app)  # type: ignore[arg-type]

    world.host.journal.register = unless  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("error", "status"), [(UsageError("Its port is another one's."), 2), (RuntimeError("a surprise"), 1)]
)
def test_one_that_can_not_even_be_looked_at_keeps_no_other_one_down(
    world: World, error: Exception, status: int
) -> None:
    world.lose_power(lately_written=True)
    refuse(world, "shop", error)
    with pytest.raises(Exception, match=f"shop: .*{error}") as raised:
        up(world)
    assert raised.value.exit_status == status  # type: ignore[attr-defined]
    assert world.serves("blog")


def test_one_that_does_not_come_is_named_and_the_other_one_serves(world: World) -> None:
    world.lose_power(lately_written=True)
    live = world.apps["shop"].slots[SlotName.A].directory
    world.files[live] = world.files[world.apps["blog"].slots[SlotName.B].directory] = world.files.pop(live)
    del world.files[live]
    with pytest.raises(NothingServesError, match="shop: ") as raised:
        up(world)
    assert "blog" not in str(raised.value)
    assert world.serves("blog")


def test_down_locks_every_app_until_balancer_and_runtime_are_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def look(stop: Callable[[], None]) -> Callable[[], None]:
        def and_look() -> None:
            seen.append({app for app in world.apps if holder_of(world.host.lock_path(app))})
            stop()

        return and_look

    monkeypatch.setattr(world.balancer, "stop", look(world.balancer.stop))
    monkeypatch.setattr(world.runtime, "shutdown", look(world.runtime.shutdown))
    world.retired |= set(world.apps)
    world.run("down", list(world.apps), lambda host: root.down(host, world.apps.values(), everything=True))
    assert seen == [set(world.apps)] * 2


def test_down_stops_nothing_while_one_app_is_worked_on(world: World) -> None:
    with (
        deployment_lock(world.host.lock_path("blog"), "deploy"),
        pytest.raises(LockedError, match="Nothing was stopped: another command is working on blog"),
    ):
        root.down(world.host, world.apps.values(), everything=True)
    assert world.serves("shop")
    assert world.serves("blog")


# -- signals --------------------------------------------------------------------------------------


def interrupt(shop: Shop, *, after: float) -> None:
    shop.world.clock.at.append((shop.world.clock.time + after, lambda: os.kill(os.getpid(), signal.SIGTERM)))


def test_up_stops_waiting_for_readiness_when_it_is_told_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.crash("shop_a")
    shop.world.healthy = lambda _: False
    interrupt(shop, after=1)
    with pytest.raises(InterruptedByUserError, match=r"SIGTERM\. shop: slot a does not answer") as raised:
        root.up(shop.host, [shop.app])
    assert raised.value.exit_status == 130
    assert shop.world.clock.time < shop.app.health.timeout
    shop.world.answering["shop_a"] = True
    root.up(shop.host, [shop.app])


@pytest.mark.parametrize("command", ["down", "stop"])
def test_down_and_stop_stop_waiting_for_requests_when_they_are_told_to(shop: Shop, command: str) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.in_flight = dict.fromkeys(shop.world.shares, 1)

    def act() -> None:
        if command == "down":
            root.down(shop.host, [shop.app], everything=True)
        else:
            manual.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)

    interrupt(shop, after=1)
    with pytest.raises(InterruptedByUserError, match="shop: slot a gets no requests and still runs"):
        act()
    assert set(shop.world.running) == {"shop_a"}
    assert shop.world.clock.time < shop.app.drain.timeout
    shop.world.in_flight.clear()
    act()
    assert shop.world.running == {}


def test_start_stops_waiting_for_readiness_when_it_is_told_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    manual.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    shop.world.healthy = lambda _: False
    slot = shop.app.slots[SlotName.A]
    slot.directory.mkdir()
    interrupt(shop, after=1)
    with pytest.raises(InterruptedByUserError, match="shop: slot a gets no requests and still runs"):
        manual.start(shop.host, {"shop": shop.app}, "shop_a", slot.directory, 3001)


# -- status ---------------------------------------------------------------------------------------


def test_status_of_an_app_that_was_never_worked_on_writes_nothing(shop: Shop) -> None:
    (seen,) = observe(shop.host, [shop.app])["apps"]
    assert (seen["live"], seen["next_deploy"], seen["slots"]["a"]["port"]) == (None, "a", 3001)
    assert shop.host.journal.names() == []


def test_what_is_left_of_a_runtime_elsewhere_is_told_and_all_is_down(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shutdown() -> None:
        raise RemainsError("Ports may be left.", cure="Remove them.")

    deploy(shop.host, shop.app)
    monkeypatch.setattr(shop.host.runtime, "shutdown", shutdown)
    root.down(shop.host, [shop.app], everything=True)
    assert [one.message for one in shop.events if isinstance(one, Warned)] == [
        "Ports may be left.\nRemove them."
    ]
    assert shop.world.running == {}
