"""Many hosts: what is said of those that nobody could ask, and who is told of Ctrl-C."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import pytest

from substitute.core.model.errors import InterruptedByUserError
from substitute.hosts.outcomes import State, exit_status
from tests.unit.fakes.fleet import NEW, OLD
from tests.unit.fakes.rollouts import NAMES, Driver, states

# -- connections that are lost ------------------------------------------------------------------------


def test_a_lost_connection_is_no_failure_where_the_host_has_succeeded(driver: Driver) -> None:
    driver.transport.hosts["web2"].breaks_in = "build"
    outcomes = driver.rollout().deploy(None, [])
    assert states(outcomes) == dict.fromkeys(NAMES, "succeeded")
    assert outcomes[1].commit == NEW
    assert [one["host"] for one in driver.shown if one["event"] == "lost"] == ["web2"]


def test_it_is_waited_for_while_it_goes_on_there(driver: Driver) -> None:
    host = driver.transport.hosts["web2"]
    host.breaks_in, host.goes_on = "build", 0
    original = host.status

    def status() -> dict[str, Any]:
        return original()

    host.status = status  # type: ignore[method-assign]
    host.goes_on = 0
    driver.transport.at_go = lambda name: setattr(
        driver.transport.hosts[name], "goes_on", 40 * (name == "web2")
    )
    outcomes = driver.rollout().deploy(None, [])
    assert outcomes[1].state is State.SUCCEEDED


def test_a_lost_connection_is_a_failure_where_the_host_has_failed(driver: Driver) -> None:
    host = driver.transport.hosts["web2"]
    host.breaks_in, host.fails = "build", "ready"
    outcomes = driver.rollout("2").deploy(None, [])
    assert states(outcomes) == {
        "web1": "succeeded",
        "web2": "failed",
        "web3": "not begun",
        "web4": "not begun",
    }
    assert "It is broken." in outcomes[1].reason


def test_an_earlier_deployment_is_not_taken_for_one_that_never_began(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.deployment("deploy", NEW)["outcome"] = "succeeded"
    host.breaks_in = "go"
    outcomes = driver.rollout("1").deploy(None, [])
    assert states(outcomes) == dict.fromkeys(NAMES, "not begun")
    assert "no deployment has begun there since" in outcomes[0].reason
    assert exit_status(outcomes) == 1


def test_what_nobody_can_ask_is_unknown_and_ends_the_rollout(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.breaks_in, host.then = "build", "down"
    outcomes = driver.rollout("1").deploy(None, [])
    assert states(outcomes) == {"web1": "unknown", **dict.fromkeys(NAMES[1:], "not begun")}
    assert exit_status(outcomes) == 1
    assert "Connection refused" in outcomes[0].reason
    assert "settles by itself" in outcomes[0].cure


def test_power_that_was_lost_is_told_with_what_settles_it(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.breaks_in, host.dies = "build", True
    outcomes = driver.rollout("1").deploy(None, [])
    assert outcomes[0].state is State.INTERRUPTED
    assert "substitute up --on web1" in outcomes[0].cure
    assert (outcomes[0].commit, exit_status(outcomes)) == (OLD, 1)


# -- Ctrl-C -------------------------------------------------------------------------------------------


def test_ctrl_c_is_told_to_the_hosts_and_nothing_more_begins(driver: Driver) -> None:
    for name in ("web1", "web2"):
        driver.transport.hosts[name].waits = True
    begun: list[str] = []

    def at_go(name: str) -> None:
        begun.append(name)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    driver.transport.at_go = at_go
    outcomes = driver.rollout("2").deploy(None, [])
    assert states(outcomes) == {
        "web1": "interrupted",
        "web2": "interrupted",
        "web3": "not begun",
        "web4": "not begun",
    }
    assert exit_status(outcomes) == 130
    assert any("2 hosts are told" in str(one.get("message")) for one in driver.shown)


def test_a_second_ctrl_c_leaves_at_once_and_says_what_is_not_known(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.waits = True
    driver.transport.at_go = lambda _: os.kill(os.getpid(), signal.SIGINT)

    def show(event: Any) -> None:
        driver.shown.append(event)
        if event["event"] == "notice":
            os.kill(os.getpid(), signal.SIGINT)

    driver.crew._show = show
    driver.transport.is_deaf_to = "interrupt"
    outcomes = driver.rollout("1").deploy(None, [])
    assert outcomes[0].state is State.UNKNOWN
    assert exit_status(outcomes) == 130
    assert "goes on there" in outcomes[0].cure


def test_ctrl_c_while_the_hosts_are_asked_begins_nothing(driver: Driver) -> None:
    once = iter([signal.SIGINT])
    driver.transport.at_question = lambda: next(map(partial(os.kill, os.getpid()), once), None)
    with pytest.raises(InterruptedByUserError):
        driver.rollout().deploy(None, [])
    assert not any(driver.done().values())
