"""What `status` calls a slot."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from substitute.console.tables import status_lines
from substitute.core.deploy.deployment import deploy, restart
from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.health import RUNS
from substitute.core.model.programs import Limits
from substitute.core.operate import manual
from substitute.core.operate.root import down, up
from substitute.core.operate.status import observe, out_of_service
from substitute.core.state.lock import RECOVERY, deployment_lock
from tests.unit.fakes.instances import FakeInstances
from tests.unit.fakes.runtime import FakeRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.programs import Inspection, Process
    from substitute.core.model.slots import Endpoint
    from tests.unit.fakes.shop import Shop


BALANCER = {"kind": "haproxy", "listen": "127.0.0.1:8080", "running": True}


class Unheard(FakeInstances):
    """Of instances that do not come as far as to listen."""

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        return None


def test_one_that_crashes_at_each_start_is_failed_also_in_the_moments_when_it_is_there(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    between = replace(shop.host, instances=Unheard(shop.world))

    def state() -> tuple[str, bool]:
        slot = observe(between, [shop.app])["apps"][0]["slots"]["a"]
        return slot["state"], slot["pid"] is not None

    assert state() == ("failed", True)
    shop.world.crash("shop_a")
    assert state() == ("failed", False)


class Restarting(FakeRuntime):
    """What supervisord tells of one that it starts again and again."""

    lives = 1

    def inspect(self, name: str) -> Inspection:
        known = self.world.running.get(name)
        return replace(
            super().inspect(name), pids=tuple(range(known.pid, known.pid + self.lives)) if known else ()
        )

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return ["Error: no database"]


def test_one_that_crashes_again_and_again_is_failed_and_it_is_said_how_often_since_when_and_why(
    shop: Shop,
) -> None:
    deploy(shop.host, shop.app, "v1")
    runtime = Restarting(shop.world)
    host = replace(shop.host, runtime=runtime)

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = observe(host, [shop.app])
        return found

    assert seen()["apps"][0]["slots"]["a"]["state"] == "live"
    assert seen()["apps"][0]["slots"]["a"]["restarts"] == 0
    runtime.lives = 38
    slot = seen()["apps"][0]["slots"]["a"]
    assert (slot["state"], slot["restarts"], slot["crash_looping"]) == ("failed", 37, True)
    lines = "\n".join(status_lines({**seen(), "balancer": BALANCER}, lambda text, _: text))
    assert re.search(
        r"slot a crash-loops: it crashed 37 times since its deployment of 1970-\S+ \S+, last by exit status 1",
        lines,
    )
    assert "a | Error: no database" in lines
    assert "shop: slot a is live and crashes again and again" in lines
    assert out_of_service(host, [shop.app]) == ["shop"]


class Clustered(FakeRuntime):
    """What a cluster tells of one of which it misses a pod."""

    def inspect(self, name: str) -> Inspection:
        return replace(super().inspect(name), ready=False, awaited="2 of 3 pods are ready")


def test_what_a_cluster_waits_for_is_said(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    host = replace(shop.host, runtime=Clustered(shop.world))
    lines = "\n".join(status_lines({**observe(host, [shop.app]), "balancer": BALANCER}, lambda text, _: text))
    assert "  shop_a: 2 of 3 pods are ready" in lines
    assert "shop_b:" not in lines


def test_out_of_service_is_what_should_serve_and_does_not(shop: Shop) -> None:
    assert out_of_service(shop.host, [shop.app]) == []
    deploy(shop.host, shop.app, "v1")
    assert out_of_service(shop.host, [shop.app]) == []
    shop.world.answering["shop_a"] = False
    assert out_of_service(shop.host, [shop.app]) == ["shop"]
    shop.world.answering["shop_a"] = True
    down(shop.host, [shop.app], everything=False)
    assert out_of_service(shop.host, [shop.app]) == ["shop"]
    up(shop.host, [shop.app])
    manual.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    assert out_of_service(shop.host, [shop.app]) == []


def shown(shop: Shop, **balancer: object) -> str:
    document = {**observe(shop.host, [shop.app]), "balancer": {**BALANCER, **balancer}}
    return "\n".join(status_lines(document, lambda text, _: text))


def test_what_is_live_is_said_as_it_is_seen(shop: Shop) -> None:
    assert "shop: nothing is live" in shown(shop)
    deploy(shop.host, shop.app, "v1")
    assert "shop: slot a is live" in shown(shop)
    shop.world.crash("shop_a")
    assert "shop: slot a should be live and does not work" in shown(shop)
    up(shop.host, [shop.app])
    down(shop.host, [shop.app], everything=False)
    assert "shop: nothing runs (`substitute up` starts slot a)" in shown(shop)
    up(shop.host, [shop.app])
    manual.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    assert "shop: stopped by hand (`substitute restart -a shop`" in shown(shop)
    restart(shop.host, shop.app)
    assert "shop: slot b is live" in shown(shop)


def test_the_addresses_that_answer_are_shown_and_what_the_file_says_beside_them(shop: Shop) -> None:
    assert "haproxy on 127.0.0.1:8080, running" in shown(shop)
    moved = {"listens": ["127.0.0.1:8080"], "configured": "127.0.0.1:8081"}
    assert "haproxy on 127.0.0.1:8080, running" in shown(shop, **moved)
    assert "substitute.toml says 127.0.0.1:8081: `substitute up` makes it answer there too" in shown(
        shop, **moved
    )
    both = {"listens": ["127.0.0.1:8081", "127.0.0.1:8080"], "configured": "127.0.0.1:8081"}
    assert "haproxy on 127.0.0.1:8081 and 127.0.0.1:8080, running" in shown(shop, **both)
    assert "substitute.toml says" not in shown(shop, **both)
    left = {"kind": "passive", "listen": None, "listens": ["127.0.0.1:8080"], "configured": None}
    assert "HAProxy, which was the balancer before, still answers on 127.0.0.1:8080" in shown(shop, **left)


def test_a_worker_that_crashes_again_and_again_is_named_where_web_is_well(shop: Shop) -> None:
    process = ProcessType("work", 1, Order.STOP_FIRST, RUNS, 5.0, user=None, limits=Limits(), env={})
    shop.change(processes={"worker": process})
    deploy(shop.host, shop.app, "v1")
    runtime, well = Restarting(shop.world), shop.host.runtime
    runtime.lives = 38
    inspect = runtime.inspect
    runtime.inspect = lambda name: (inspect if "worker" in name else well.inspect)(name)  # type: ignore[method-assign]
    document = {**observe(replace(shop.host, runtime=runtime), [shop.app]), "balancer": BALANCER}
    lines = "\n".join(status_lines(document, lambda text, _: text))
    assert "shop: slot a is live, and shop_a_worker_1 crashes again and again" in lines


def test_of_several_instances_those_that_a_deployment_has_stopped_are_no_failure(shop: Shop) -> None:
    process = ProcessType("work", 1, Order.STOP_FIRST, RUNS, 5.0, user=None, limits=Limits(), env={})
    shop.change(processes={"worker": process})
    for commit in ("v1", "v2"):
        deploy(shop.host, shop.app, commit)
    assert "shop_a" not in shown(shop)
    assert "shop_b_worker_1" in shown(shop)
    shop.world.crash("shop_b_worker_1")
    assert re.search(r"shop_b_worker_1 +not running", shown(shop))
    assert "shop_b_worker_1 ended, last by exit status 1" in shown(shop)


def test_guests_are_shown(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: work\n")
    manual.start(shop.host, {}, "worker", tmp_path, 3100)
    assert re.search(r"guest: worker on port 3100, pid \d+, up .*, in /", shown(shop))
    shop.world.crash("worker")
    assert "guest: worker on port 3100, not running" in shown(shop)


def test_after_a_build_that_failed_no_commit_is_shown_that_the_files_are_not_at(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")

    def commits() -> dict[str, str | None]:
        slots = observe(shop.host, [shop.app])["apps"][0]["slots"]
        return {name: slot["commit"] for name, slot in slots.items()}

    before = commits()
    shop.host.journal.spoil("shop", shop.app.slots[min(shop.app.slots)].name)
    assert commits() == {"a": None, "b": before["b"]}


def test_a_rollback_is_instant_only_while_nobody_works_on_the_app_who_would_be_waited_for(shop: Shop) -> None:
    shop.change(standby={"seconds": 600.0})
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)

    def rollback() -> tuple[str, str]:
        found = observe(shop.host, [shop.app])["apps"][0]["rollback"]
        return found["kind"], found["refused"]

    assert rollback() == ("instant", "")
    path = shop.host.lock_path("shop")
    with deployment_lock(path, RECOVERY):  # it lets whoever goes back have the lock
        assert rollback() == ("instant", "")
    with deployment_lock(path, "deploy") as lock:
        lock.phase("drain")
        kind, why = rollback()
    assert kind == "refused"
    assert why.startswith("another command is working on shop: `deploy` (pid ")


@pytest.mark.parametrize(("frozen", "kind"), [(False, "cold"), (True, "instant")])
def test_a_standby_that_does_not_answer_is_not_called_instant_unless_it_is_frozen(
    shop: Shop, kind: str, *, frozen: bool
) -> None:
    shop.change(standby={"seconds": 600.0})
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)
    shop.change(standby={"seconds": 600.0, "frozen": frozen})
    shop.world.answering["shop_a"] = False
    assert observe(shop.host, [shop.app])["apps"][0]["rollback"]["kind"] == kind


def test_a_rollback_is_not_called_instant_where_the_balancer_has_to_notice_it_by_itself(shop: Shop) -> None:
    shop.change(standby={"seconds": 600.0})
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)
    shop.world.noticed_after = 11.0
    document = {**observe(shop.host, [shop.app]), "balancer": BALANCER}
    rollback = document["apps"][0]["rollback"]
    assert (rollback["kind"], rollback["seconds"]) == ("noticed", 11.0)
    told = "\n".join(status_lines(document, lambda text, _: text))
    assert "instant" not in told
    assert "your balancer notices only after at least 11" in told
