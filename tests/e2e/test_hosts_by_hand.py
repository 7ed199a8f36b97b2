"""Two real machines over the real ssh: what is ended, held, promoted and marked by hand; a canary."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.fleets import Fleet
from tests.e2e.rollouts import HOME, RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.long]

STANDBY = '[app.shop.standby]\nkeep = "forever"'


@pytest.fixture(scope="module")
def two() -> Iterator[Fleet]:
    with Fleet(2) as made:
        made.configure(more=f"{RELEASE}\n{STANDBY}", more_of_hosts='lost_timeout = "60s"')
        made.run("hosts", "setup")
        made.commit("first")
        made.run("deploy", "--hosts", "all")
        yield made


def states(events: list[dict[str, Any]]) -> dict[str, str]:
    return {one["host"]: one["state"] for one in events[-1]["hosts"]}


def apps(fleet: Fleet) -> dict[str, Any]:
    return {
        name: one["status"]["apps"][0] for name, one in fleet.document("status", "--hosts", "all").items()
    }


def slots(fleet: Fleet) -> list[tuple[str, str]]:
    """The states of both slots on each host."""
    return [(one["slots"]["a"]["state"], one["slots"]["b"]["state"]) for one in apps(fleet).values()]


def test_a_detached_command_is_ended_on_the_host_that_is_named(two: Fleet) -> None:
    events = two.events("run", "--hosts", "all", "--detach", "--", "sleep", "4712")
    names = {one["host"]: one["result"]["run"] for one in events[-1]["hosts"]}
    assert states(two.events("stop", names["web2"], "--on", "web2")) == {"web2": "succeeded"}
    assert [bool(one["runs"]) for one in apps(two).values()] == [True, False]
    two.run("stop", names["web1"], "--on", "web1")
    assert not any(one["runs"] for one in apps(two).values())


def test_a_version_that_stands_by_is_ended_and_instances_are_started_and_stopped_on_all(two: Fleet) -> None:
    two.commit("second")
    two.run("deploy", "--hosts", "all")
    assert {one.count("standby") for one in slots(two)} == {1}
    two.run("standby", "end", "--hosts", "all")
    assert {one.count("standby") for one in slots(two)} == {0}
    (standby,) = {"ab".replace(one["live"], "") for one in apps(two).values()}
    place, port = f"{HOME}/shop/shop_{standby}", {"a": "3001", "b": "3002"}[standby]
    two.run("start", f"shop_{standby}", place, port, "--hosts", "all")
    assert {one.count("standby") for one in slots(two)} == {1}
    two.run("stop", f"shop_{standby}", "--hosts", "all")
    assert {one.count("standby") for one in slots(two)} == {0}


def test_a_release_is_marked_on_all(two: Fleet) -> None:
    new = two.commit("with a migration")
    two.run("deploy", "--hosts", "all")
    number = two.document("history", "--hosts", "all")["web2"]["history"]["deployments"][0]["id"]
    shown = two.run("release", "--contract", "--hosts", "all").stdout
    assert {line.partition(" (")[0] for line in shown.splitlines() if "| shop: release" in line} == {
        f"{name} | shop: release of deployment {number}" for name in two.names
    }
    two.run("rollback", "--hosts", "all", exit_status=2)
    assert set(two.live().values()) == {new}
    events = two.events("release", "--no-contract", "--hosts", "all")
    assert {one["result"]["rollback_refused"] for one in events[-1]["hosts"]} == {""}


def test_a_version_is_held_on_all_then_aborted_and_then_promoted(two: Fleet) -> None:
    (old,) = set(two.live().values())
    new = two.commit("held")
    events = two.events("deploy", "--hold", "--hosts", "all")
    assert states(events) == dict.fromkeys(two.names, "held")
    assert {one["commit"] for one in events[-1]["hosts"]} == {old}
    found = apps(two).values()
    assert {one["held"]["commit"] for one in found} == {new}
    assert {one["live"] for one in events[-1]["hosts"]} == {one["live"] for one in found}
    assert set(two.live().values()) == {old}

    shown = two.run("abort", "--hosts", "all").stdout
    assert shown.count(f"{new[:10]} does not become live") == 2
    assert {one["held"] for one in apps(two).values()} == {None}
    assert set(two.live().values()) == {old}

    shown = two.run("deploy", "--hold", "--hosts", "all").stdout
    for one in apps(two).values():
        assert one["held"]["links"][0] in shown
    *_, first, second, told = shown.splitlines()
    assert [line.split()[:2] for line in (first, second)] == [["web1", "held"], ["web2", "held"]]
    assert "`substitute promote` with the same hosts" in told
    assert states(two.events("promote", "--hosts", "all", "--batch", "1")) == dict.fromkeys(
        two.names, "succeeded"
    )
    assert {one["held"] for one in apps(two).values()} == {None}
    assert set(two.live().values()) == {new}
    refused = two.events("promote", "--hosts", "all", exit_status=2)
    assert states(refused) == dict.fromkeys(two.names, "refused")


def test_a_canary_goes_on_by_itself_on_each_and_on_the_one_that_is_cut_off(two: Fleet) -> None:
    two.reconfigure(f'{RELEASE}\n[app.shop.canary]\nsteps = ["20% 1s", "50% 5s"]')
    new = two.commit("with a canary")
    events: list[dict[str, Any]] = []
    with two.begun("deploy", "--hosts", "all", "--json") as driver:
        assert driver.stdout
        for line in driver.stdout:
            events.append(json.loads(line))
            if [events[-1].get(key) for key in ("event", "share", "host")] == ["step", 50, "web2"]:
                two.signal_relays("web2", signal.SIGKILL)
    assert driver.returncode == 0, json.dumps(events[-1])
    steps = [(one["host"], one["share"]) for one in events if one["event"] == "step"]
    assert steps == [(name, share) for name in two.names for share in (20, 50)]
    assert [one["host"] for one in events if one["event"] == "lost"] == ["web2"]
    assert states(events) == dict.fromkeys(two.names, "succeeded")
    assert set(two.live().values()) == {new}
    two.commit("with another")
    shown = two.run("deploy", "--hosts", "all").stdout
    for name in two.names:
        assert f"{name} | 50 % of the clients for 5.0 s" in shown
