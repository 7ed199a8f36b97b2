"""An app that must not run twice: what is refused, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.config import apps
from substitute.core.deploy.deployment import deploy
from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.errors import DeploymentFailedError
from substitute.core.model.health import RUNS
from substitute.core.model.programs import Limits
from substitute.core.model.slots import SlotName
from substitute.core.operate.status import out_of_service
from substitute.core.state.remembered import remembered
from tests.unit.test_config import SHOP, loaded, problems

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes.shop import Shop

ALONE = SHOP + 'order = "stop-first"\n'


def test_it_is_configured_in_the_app(tmp_path: Path) -> None:
    app = apps(loaded(tmp_path, ALONE + 'hold = "1m"\n'), tmp_path)["shop"]
    assert (app.order, app.hold, app.runs_once) == (Order.STOP_FIRST, 60.0, True)
    assert not apps(loaded(tmp_path, SHOP), tmp_path)["shop"].runs_once


@pytest.mark.parametrize(
    ("more", "cure"),
    [
        ("instances = 2\n", "write instances = 1"),
        ('standby.keep = "5m"\n', "remove [standby]"),
        ("drain.background = true\n", "remove drain.background"),
        ("verify.share = 10\n", "remove verify.share"),
        ('[balancer]\nkind = "passive"\n', 'needs balancer.kind = "haproxy"'),
        ('[balancer]\nkind = "nginx"\n', "requests would fail while neither version runs"),
    ],
)
def test_what_lets_two_versions_run_at_once_is_refused(tmp_path: Path, more: str, cure: str) -> None:
    (problem,) = problems(tmp_path, ALONE + more)
    assert cure in problem


def test_how_long_requests_wait_means_nothing_where_none_do(tmp_path: Path) -> None:
    assert 'order = "start-first" has no use for hold' in problems(tmp_path, SHOP + 'hold = "5s"\n')[0]


def test_a_standby_of_the_time_before_is_not_kept(shop: Shop) -> None:
    shop.change(standby={"seconds": 600.0})
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    assert shop.host.journal.app("shop").standby(shop.host.clock.now())
    shop.change(standby={"seconds": 0.0}, order=Order.STOP_FIRST)
    shop.host.journal.register(shop.app)
    assert not shop.host.journal.app("shop").standby(shop.host.clock.now())
    assert remembered(shop.host.journal, shop.host.root, "shop").runs_once


def test_a_reload_waits_until_no_request_waits_for_a_version(shop: Shop) -> None:
    """A worker of HAProxy that was replaced cannot be told where they may go."""
    shop.change(order=Order.STOP_FIRST, hold=10.0)
    deploy(shop.host, shop.app, "v1")
    shop.host.let_wait("shop")
    shop.world.clock.at.append((shop.world.clock.time + 2.0, lambda: shop.host.route("shop", SERVES)))
    shop.world.log.clear()
    shop.host.reload("blog", {})
    first, second = (
        next(at for at, line in enumerate(shop.world.log) if line.startswith(word)) for word in WORDS
    )
    assert first < second


def test_the_old_version_has_ended_before_the_new_one_starts_and_its_workers_run_on(shop: Shop) -> None:
    shop.change(order=Order.STOP_FIRST, processes={"worker": WORKER})
    deploy(shop.host, shop.app, "v1")
    shop.world.log.clear()
    deploy(shop.host, shop.app, "v2")
    order = [line for line in shop.world.log if line.startswith(("start", "stop"))]
    assert order == [
        *("stop shop_a", "start shop_b"),
        *("start shop_b_worker_1", "stop shop_a_worker_1"),
    ]


def test_the_old_version_is_started_again_where_the_new_one_is_not_ready_and_its_worker_was_not_touched(
    shop: Shop,
) -> None:
    shop.change(order=Order.STOP_FIRST, processes={"worker": WORKER})
    deploy(shop.host, shop.app, "v1")
    shop.world.log.clear()
    shop.world.healthy = lambda commit: commit != "v2"
    with pytest.raises(DeploymentFailedError, match=r"Slot a .* still serves"):
        deploy(shop.host, shop.app, "v2")
    order = [line for line in shop.world.log if line.startswith(("start", "stop"))]
    assert order == ["stop shop_a", "start shop_b", "stop shop_b", "start shop_a"]
    assert shop.host.journal.app("shop").waits_since is None


def test_nobody_is_alarmed_while_requests_wait_no_longer_than_they_may(shop: Shop) -> None:
    shop.change(order=Order.STOP_FIRST, hold=10.0)
    deploy(shop.host, shop.app, "v1")
    shop.host.let_wait("shop")
    assert out_of_service(shop.host, [shop.app]) == []
    shop.world.clock.sleep(11.0)
    assert out_of_service(shop.host, [shop.app]) == ["shop"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1.5, "Requests to shop waited in the balancer for 1.5s at most."),
        (12.0, "for 10s (hold), and then got status 503: no version served for 12.0s."),
    ],
)
def test_how_long_requests_waited_is_told_by_whoever_lets_them_go(
    shop: Shop, seconds: float, told: str
) -> None:
    shop.change(order=Order.STOP_FIRST, hold=10.0)
    deploy(shop.host, shop.app, "v1")
    shop.host.let_wait("shop")
    shop.world.clock.sleep(seconds)
    shop.host.let_wait("shop")
    shop.host.route("shop", SERVES)
    assert told in str(shop.events[-1])
    shop.host.route("shop", SERVES)
    assert len([event for event in shop.events if "Requests to shop" in str(event)]) == 1


WORKER = ProcessType("work", 1, Order.START_FIRST, RUNS, 5.0, user=None, limits=Limits(), env={})
SERVES = {SlotName.A: 100, SlotName.B: 0}
WORDS = ("route", "reload")


def test_nobody_waits_for_ever_where_a_deployer_has_left_them_waiting(shop: Shop) -> None:
    shop.change(order=Order.STOP_FIRST, hold=10.0)
    deploy(shop.host, shop.app, "v1")
    shop.host.let_wait("shop")
    began = shop.world.clock.time
    shop.host.reload("blog", {})
    assert 9.0 < shop.world.clock.time - began < 12.0
