"""A version is judged, revived and gone back to by what it was proven with; what is edited waits for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import ConfigError, DeploymentFailedError
from substitute.core.model.programs import Limits, Process, Protection, Stopped
from substitute.core.model.slots import SlotName
from substitute.core.operate import manual, root
from substitute.core.state.journal import Journal

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def sick(commit: str) -> bool:
    return commit != "sick"


@pytest.fixture(autouse=True)
def only_later_versions_have_a_page(shop: Shop) -> None:
    shop.world.serves = lambda commit, path: path == "/" or commit != "v1"
    shop.world.healthy = sick


def edit(shop: Shop) -> None:
    """All that belongs to a version is other in the configuration now."""
    shop.change(
        start="serve --new",
        health=replace(shop.app.health, path="/up", timeout=9.0),
        env={"MODE": "new"},
        user="nobody",
        notifies=True,
        limits=Limits(memory=1),
        protections=frozenset(),
    )


def started(shop: Shop, slot: str) -> tuple[object, ...]:
    program = shop.world.programs[f"shop_{slot}"]
    mode, path = program.environment.get("MODE"), program.environment["PATH"]
    return program.command, mode, path, program.user, program.notifies, program.limits, program.protections


OLD = ("serve", None, "/bin", None, False, Limits(), frozenset(Protection))
NEW = ("serve --new", "new", "/bin", "nobody", True, Limits(memory=1), frozenset[Protection]())


def test_a_tag_that_led_to_a_version_on_another_host_leads_back_to_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1", tag="v1.4")
    deploy(shop.host, shop.app, "v2")
    assert [one.tag for one in shop.host.journal.history("shop")] == ["", "v1.4"]
    rollback(shop.host, shop.app, "v1.4")
    live = shop.host.journal.app("shop").live_slot
    assert live
    assert live.commit == "v1"


def test_a_failed_deployment_of_a_changed_configuration_does_not_condemn_what_serves(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    edit(shop)
    with pytest.raises(DeploymentFailedError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "sick")
    assert started(shop, "b") == NEW
    assert shop.world.log.count("start shop_a") == 1


def test_what_crashed_is_revived_as_it_was_proven(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    edit(shop)
    shop.world.crash("shop_a")
    shop.host = replace(shop.host, caller={"PATH": "/elsewhere"})
    shop.host.journal.remember_environment("shop", shop.host.caller)
    assert settle(shop.host, shop.app).problem == ""
    assert started(shop, "a") == OLD


def test_a_rollback_to_a_slot_as_it_stands_is_one_to_its_configuration(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    edit(shop)
    deploy(shop.host, shop.app, "v2")
    assert started(shop, "b") == NEW
    rollback(shop.host, shop.app)
    assert started(shop, "a") == OLD
    assert shop.host.journal.app("shop").live is SlotName.A
    rollback(shop.host, shop.app)
    assert started(shop, "b") == NEW


def test_what_is_built_anew_gets_the_configuration_of_today(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v2")
    edit(shop)
    restart(shop.host, shop.app)
    assert started(shop, "b") == NEW


def test_one_that_needs_longer_than_it_was_proven_with_is_given_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.crash("shop_a")
    shop.world.healthy = lambda _: False
    shop.change(health=replace(shop.app.health, timeout=90.0))
    assert "within 90s" in settle(shop.host, shop.app).problem
    shop.change(health=replace(shop.app.health, timeout=1.0))
    shop.world.crash("shop_a")
    assert "within 30s" in settle(shop.host, shop.app).problem


def test_a_configuration_that_failed_is_not_gone_back_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v2")
    deploy(shop.host, shop.app, "v3")
    edit(shop)
    shop.world.boots = lambda _: False
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v2")
    shop.world.boots = lambda _: True
    rollback(shop.host, shop.app)
    assert started(shop, "a") == OLD
    assert shop.host.journal.app("shop").slots[SlotName.A].commit == "v2"


def test_what_stands_by_and_what_is_started_by_hand_is_what_was_proven(shop: Shop) -> None:
    for slot in shop.app.slots.values():
        slot.directory.mkdir()
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    edit(shop)
    manual.start(shop.host, {"shop": shop.app}, "shop_a", shop.app.slots[SlotName.A].directory, 3001)
    assert started(shop, "a") == OLD
    manual.stop(shop.host, {"shop": shop.app}, "shop_b", force=True)
    manual.start(shop.host, {"shop": shop.app}, "shop_b", shop.app.slots[SlotName.B].directory, 3002)
    assert started(shop, "b") == OLD


def test_secrets_are_those_of_today_from_the_file_that_the_version_had(shop: Shop) -> None:
    files = {"old.env": {"TOKEN": "1"}, "new.env": {"TOKEN": "2"}}
    shop.host = replace(shop.host, secrets=files.__getitem__)
    shop.change(secrets={"file": "old.env", "of_file": files["old.env"]})
    deploy(shop.host, shop.app, "v1")
    files["old.env"] = {"TOKEN": "1, rotated"}
    shop.change(secrets={"file": "new.env", "of_file": files["new.env"]})
    shop.world.crash("shop_a")
    settle(shop.host, shop.app)
    assert shop.world.programs["shop_a"].environment["TOKEN"] == "1, rotated"  # noqa: S105
    assert b"rotated" not in shop.host.journal.path.read_bytes()


def test_a_secrets_file_that_is_gone_is_told_and_todays_taken(shop: Shop) -> None:
    def gone(file: str) -> dict[str, str]:
        raise ConfigError(f"{file} cannot be used.")

    shop.host = replace(shop.host, secrets=gone)
    shop.change(secrets={"file": "old.env", "of_file": {"TOKEN": "1"}})
    deploy(shop.host, shop.app, "v1")
    shop.change(secrets={"file": "new.env", "of_file": {"TOKEN": "2"}})
    shop.world.crash("shop_a")
    settle(shop.host, shop.app)
    assert shop.world.programs["shop_a"].environment["TOKEN"] == "2"  # noqa: S105
    assert any("old.env cannot be used" in str(event) for event in shop.events)


def test_a_slot_of_an_earlier_version_of_substitute_is_judged_by_the_configuration(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    with shop.host.journal._write() as db:
        db.execute("UPDATE slot SET version = NULL")
    shop.world.crash("shop_a")
    edit(shop)
    assert "did not answer" in settle(shop.host, shop.app).problem
    # What it was revived with has proven nothing.
    shop.change(start="serve", health=replace(shop.app.health, path="/"))
    shop.world.crash("shop_a")
    assert settle(shop.host, shop.app).problem == ""


def test_after_an_upgrade_what_answers_has_proven_the_configuration_of_today(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    with shop.host.journal._write() as db:
        db.execute("UPDATE slot SET version = NULL")
    root.up(shop.host, [shop.app])
    edit(shop)
    shop.world.crash("shop_a")
    assert settle(shop.host, shop.app).problem == ""
    assert started(shop, "a") == OLD


def test_edited_limits_hold_for_the_next_drain_and_stop_of_what_runs(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(drain={"timeout": 2.0}, stop_timeout=3.0)
    limits: list[float] = []
    stop = shop.host.runtime.stop

    def stopped(name: str, process: Process | None, *, timeout: float, signal: str = "SIGTERM") -> Stopped:
        limits.append(timeout)
        return stop(name, process, timeout=timeout, signal=signal)

    shop.host.runtime.stop = stopped  # type: ignore[method-assign]
    shop.world.in_flight[shop.app.slots[SlotName.A].endpoints[0]] = 1
    began = shop.world.clock.time
    deploy(shop.host, shop.app, "v2")
    assert limits == [3.0]
    assert 2.0 <= shop.world.clock.time - began < 10.0
    shop.change(stop_timeout=60.0)
    deploy(shop.host, shop.app, "v3")
    assert limits == [3.0, 3.0]
    assert any("stop.timeout = 3s" in str(event) for event in shop.events)


def test_what_is_remembered_of_a_version_comes_back_whole(shop: Shop) -> None:
    edit(shop)
    deploy(shop.host, shop.app, "v2")
    journal = Journal(shop.host.journal.path)
    assert journal.app("shop").slots[SlotName.A] == shop.host.journal.app("shop").slots[SlotName.A]
    version = journal.app("shop").slots[SlotName.A].version
    assert version
    assert version.applied_to(shop.app, {}) == shop.app
    journal.close()
    root.up(shop.host, [shop.app])
