"""Rollbacks, and what a deployment costs them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.check.check import check
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.model.errors import DeploymentFailedError, SourceError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.slots import SlotName
from substitute.core.operate.root import up
from substitute.core.state.lock import RECOVERY
from tests.unit.fakes.source import FakeSource
from tests.unit.shops import live, notices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.core.model.events import Event
    from tests.unit.fakes.shop import Shop


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


def test_a_rollback_goes_to_what_was_live_though_its_deployment_did_not_end_well(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    deploy(shop.host, shop.app, "v3")
    with closing(sqlite3.connect(shop.host.journal.path, isolation_level=None)) as db:
        db.execute("UPDATE deployment SET outcome = 'failed' WHERE hash = 'v2'")
    rollback(shop.host, shop.app)
    assert shop.host.journal.app("shop").slots[SlotName.B].commit == "v2"
    assert live(shop) == "b"


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
