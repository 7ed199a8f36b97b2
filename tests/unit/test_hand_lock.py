"""A lock that a person has put on deployments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.console.tables import status_lines
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.model.errors import LockedError
from substitute.core.model.events import Locked, Notice, Unlocked, Warned
from substitute.core.operate.locking import lock, unlock
from substitute.core.operate.status import observe
from substitute.core.state.lock import deployment_lock

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop

WHY = "no deploys on Friday"


@pytest.mark.parametrize("app", ["shop", None])
def test_deployments_are_refused_with_the_reason_until_it_is_taken_away(shop: Shop, app: str | None) -> None:
    deploy(shop.host, shop.app, "v1")
    lock(shop.host, ["shop"], app, WHY)
    before = list(shop.world.log)
    for refused in (deploy, restart):
        with pytest.raises(LockedError, match=rf"ada since .*: {WHY}"):
            refused(shop.host, shop.app)
    assert shop.world.log == before
    assert len(shop.host.journal.history("shop")) == 1
    with pytest.raises(LockedError, match=WHY):
        lock(shop.host, ["shop"], app, "another reason")
    unlock(shop.host, ["shop"], app)
    deploy(shop.host, shop.app, "v2")
    told = [event for event in shop.events if isinstance(event, Locked)]
    assert [(type(event), event.app, event.text, event.by) for event in told] == [
        (Locked, app, WHY, "ada"),
        (Unlocked, app, WHY, "ada"),
    ]


def test_who_must_go_back_can_do_so_and_is_warned(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    lock(shop.host, ["shop"], None, WHY)
    rollback(shop.host, shop.app)
    assert shop.host.journal.app("shop").live == "a"
    assert [WHY in event.message for event in shop.events if isinstance(event, Warned)] == [True]


def test_of_two_locks_both_are_told_and_unlocking_all_takes_both_away(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    lock(shop.host, ["shop"], None, WHY)
    lock(replace(shop.host, user="bob"), ["shop"], "shop", "an incident")
    with pytest.raises(LockedError, match="an incident") as refused:
        deploy(shop.host, shop.app, "v2")
    assert WHY in refused.value.fact
    assert "`substitute unlock -a shop` and `substitute unlock` take them away" in refused.value.cure
    (seen,) = observe(shop.host, [shop.app])["apps"]
    assert seen["locks"] == [
        {"text": "an incident", "by": "bob", "since": "1970-01-12T13:46:40+00:00", "app": "shop"},
        {"text": WHY, "by": "ada", "since": "1970-01-12T13:46:40+00:00", "app": None},
    ]
    lines = list(status_lines({"apps": [seen], "balancer": _HAPROXY}, lambda text, _: text))
    assert sum("locked by" in line and "substitute unlock" in line for line in lines) == 2
    unlock(shop.host, ["shop"], None)
    deploy(shop.host, shop.app, "v2")


@pytest.mark.parametrize(("app", "said"), [("shop", "shop was not locked."), (None, "Nothing was locked.")])
def test_where_nothing_is_locked_that_is_told(shop: Shop, app: str | None, said: str) -> None:
    unlock(shop.host, ["shop"], app)
    assert [event.message for event in shop.events if isinstance(event, Notice)] == [said]


def test_what_is_under_way_goes_on_and_is_told(shop: Shop) -> None:
    with deployment_lock(shop.host.lock_path("shop"), "deploy"):
        lock(shop.host, ["shop"], None, WHY)
    told = [event.message for event in shop.events if isinstance(event, Notice)]
    assert len(told) == 1
    assert "shop: `deploy` (pid" in told[0]


def test_a_root_that_moves_stays_locked_and_its_copy_is_not(shop: Shop) -> None:
    lock(shop.host, ["shop"], None, WHY)
    lock(shop.host, ["shop"], "shop", WHY)
    shop.host.journal.remember("keeper", "systemd")
    shop.host.journal.settle_in("/elsewhere")
    shop.host.journal.forget_facts()
    assert shop.host.journal.fact("keeper") is None
    with pytest.raises(LockedError):
        deploy(shop.host, shop.app, "v1")
    shop.host.journal.begin_anew("/a/copy")
    deploy(shop.host, shop.app, "v1")


_HAPROXY = {"kind": "haproxy", "listen": "127.0.0.1:8080", "running": True}
