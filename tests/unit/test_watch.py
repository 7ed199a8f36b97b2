"""What an app watches, and several apps that are deployed with one command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.deploy.several import deploy_several
from substitute.core.deploy.unchanged import touches
from substitute.core.model.errors import DeploymentFailedError, LockedError, NothingServesError, UsageError
from substitute.core.model.events import Announced, Halted, Succeeded, Unchanged, Warned
from substitute.core.model.slots import SlotName
from substitute.core.operate.locking import lock
from substitute.core.operate.manual import stop
from tests.unit.fakes.shop import make_slots

if TYPE_CHECKING:
    from substitute.core.model.apps import App
    from tests.unit.fakes.shop import Shop


@pytest.mark.parametrize(
    ("path", "is_touched"),
    [
        ("apps/web", True),
        ("apps/web/a.js", True),
        ("apps", True),
        ("apps/webby", False),
        ("lib/apps/web", False),
    ],
)
def test_a_path_is_touched_by_what_it_is_holds_or_is_in(path: str, is_touched: bool) -> None:  # noqa: FBT001
    assert touches(path, "apps/web") == is_touched


def test_a_commit_that_changes_nothing_watched_is_left_alone_and_can_be_forced(shop: Shop) -> None:
    shop.change(watch=("packages",), directory="apps/web")
    (shop.host.root / "shop_a" / "apps" / "web").mkdir(parents=True)
    (shop.host.root / "shop_b" / "apps" / "web").mkdir(parents=True)
    deploy(shop.host, shop.app, "v1")
    shop.world.changed = {("v1", "v2"): ["docs/x", "apps/admin/y"]}
    shop.world.log.clear()
    deploy(shop.host, shop.app, "v2")
    deploy(shop.host, shop.app, "v1")
    assert shop.world.log == []
    assert [event for event in shop.events if isinstance(event, Unchanged)] == [
        Unchanged("shop", SlotName.A, "v1", chosen=chosen, watched=("packages", "apps/web"))
        for chosen in ("v2", "v1")
    ]
    deploy(shop.host, shop.app, "v2", force=True)
    assert shop.host.journal.app("shop").live == "b"


@pytest.mark.parametrize("changed", [["packages/a"], ["apps/web/b"], None])
def test_what_touches_it_is_deployed_and_so_is_what_cannot_be_told(
    shop: Shop, changed: list[str] | None
) -> None:
    shop.change(watch=("packages",), directory="apps/web")
    for slot in shop.app.slots.values():
        (slot.directory / "apps" / "web").mkdir(parents=True)
    deploy(shop.host, shop.app, "v1")
    shop.world.changed = {("v1", "v2"): changed} if changed else {}
    deploy(shop.host, shop.app, "v2")
    assert shop.host.journal.app("shop").live == "b"


def test_an_edited_configuration_is_deployed_though_nothing_watched_changed(shop: Shop) -> None:
    shop.change(watch=("packages",))
    deploy(shop.host, shop.app, "v1")
    shop.world.changed = {("v1", "v2"): []}
    shop.change(start="serve --fast")
    deploy(shop.host, shop.app, "v2")
    assert shop.host.journal.app("shop").live == "b"


def test_a_path_that_is_not_there_is_warned_of_though_nothing_is_deployed(shop: Shop) -> None:
    shop.change(watch=("packges",))
    deploy(shop.host, shop.app, "v1")
    shop.world.untracked = {"packges"}
    shop.world.changed = {("v1", "v2"): ["packages/a"]}
    deploy(shop.host, shop.app, "v2")
    (warning,) = [event.message for event in shop.events if isinstance(event, Warned)]
    assert warning == "app.shop.watch names packges, which the commit v2 does not have."


@pytest.fixture
def apps(shop: Shop) -> list[App]:
    """Three apps of one repository, all live at v1."""
    found = [
        replace(shop.app, name=name, watch=(name,), slots=make_slots(shop.host.root, name, port, port + 1))
        for name, port in (("shop", 3001), ("blog", 4001), ("docs", 5001))
    ]
    for app in found:
        deploy(shop.host, app, "v1")
    shop.world.changed = {("v1", "newest"): ["shop/a", "docs/b"]}
    shop.events.clear()
    return found


def live(shop: Shop) -> dict[str, str | None]:
    records = [shop.host.journal.app(name) for name in ("shop", "blog", "docs")]
    return {one.name: one.live_slot.commit if one.live_slot else None for one in records}


def test_those_that_changed_are_deployed_and_it_is_said_first(shop: Shop, apps: list[App]) -> None:
    deploy_several(shop.host, apps)
    assert live(shop) == {"shop": "newest", "blog": "v1", "docs": "newest"}
    told = [one for one in shop.events if isinstance(one, Unchanged | Announced | Succeeded)]
    assert [one.event for one in told] == ["unchanged", "announced", "succeeded", "succeeded"]
    assert told[1] == Announced(("shop", "docs"), ("blog",))
    shop.events.clear()
    shop.world.changed = {}
    deploy_several(shop.host, apps[:1] + apps[2:])
    assert Announced((), ("shop", "docs")) in shop.events
    deploy_several(shop.host, apps, force=True)
    assert live(shop)["blog"] == "newest"


def test_when_one_fails_those_before_it_stay_and_those_after_it_are_not_begun(
    shop: Shop, apps: list[App]
) -> None:
    shop.world.changed = {}
    apps[1] = replace(apps[1], directory="apps/blog")
    with pytest.raises(DeploymentFailedError, match="has no directory apps/blog"):
        deploy_several(shop.host, apps)
    assert live(shop) == {"shop": "newest", "blog": "v1", "docs": "v1"}
    (halted,) = [event for event in shop.events if isinstance(event, Halted)]
    assert halted == Halted("blog", ("shop",), ("docs",))
    assert halted.message == (
        "The deployment of blog has failed. Deployed before it, and live: shop. Not begun: docs."
    )


def test_nothing_is_begun_where_one_that_changed_is_locked_or_cannot_be_asked(
    shop: Shop, apps: list[App]
) -> None:
    lock(shop.host, [], "blog", "Friday")
    deploy_several(shop.host, apps)
    shop.world.changed = {}
    with pytest.raises(LockedError, match="blog"):
        deploy_several(shop.host, apps, force=True)
    shop.world.fetchable = False
    with pytest.raises(DeploymentFailedError):
        deploy_several(shop.host, apps)
    assert live(shop)["blog"] == "v1"
    with pytest.raises(UsageError, match="-a shop"):
        deploy_several(shop.host, [apps[0], replace(apps[1], repo="another")], "v3")


def test_what_was_stopped_by_hand_stays_so(shop: Shop, apps: list[App]) -> None:
    stop(shop.host, {app.name: app for app in apps}, "shop_a", force=True)
    deploy_several(shop.host, apps)
    assert shop.host.journal.app("shop").stopped
    assert live(shop)["docs"] == "newest"


def test_a_version_that_never_comes_up_is_no_reason_to_forget_the_first_one(shop: Shop) -> None:
    shop.world.boots = lambda _: False
    with pytest.raises(NothingServesError):
        deploy_several(shop.host, [shop.app, replace(shop.app, name="blog")])
    assert [one for one in shop.events if isinstance(one, Halted)] == [Halted("shop", (), ("blog",))]
