"""What `status` calls a slot."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from substitute.console.tables import status_lines
from substitute.core import byhand
from substitute.core.deployment import deploy
from substitute.core.root import down, up
from substitute.core.status import observe, out_of_service
from tests.unit.fakes import FakeProber, FakeRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.ports import Inspection, Process
    from substitute.core.slots import Endpoint
    from tests.unit.fakes import Shop


BALANCER = {"kind": "haproxy", "listen": "127.0.0.1:8080", "running": True}


class Unheard(FakeProber):
    """Of instances that do not come as far as to listen."""

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        return None


def test_one_that_crashes_at_each_start_is_failed_also_in_the_moments_when_it_is_there(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    between = replace(shop.host, prober=Unheard(shop.world))

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
    assert out_of_service(host, [shop.app]) == ["shop"]


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
    byhand.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    assert out_of_service(shop.host, [shop.app]) == []
