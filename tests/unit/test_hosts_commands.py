"""Many hosts: commands that run there, and what is done on one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from substitute.cli.fleet import words_of
from substitute.cli.options import Call
from substitute.cli.table import COMMANDS, command_of
from substitute.hosts.in_turn import InTurn
from substitute.hosts.outcomes import exit_status
from substitute.hosts.report.runs import release_lines
from substitute.hosts.report.tables import outcome_lines
from substitute.hosts.ssh.command_line import ssh_command
from tests.unit.fakes.fleet import NEW
from tests.unit.fakes.rollouts import NAMES, states

if TYPE_CHECKING:
    from substitute.hosts.outcomes import Outcome
    from tests.unit.fakes.rollouts import Driver


def run(driver: Driver) -> list[Outcome]:
    return driver.crew.carry_out([(host, ["run", "--", "true"]) for host in driver.transport.all()])


def in_turn(driver: Driver) -> InTurn:
    transport = driver.transport
    return InTurn(transport.there(), driver.crew, driver.shown.append, transport.all(), "shop")


def test_a_command_may_end_with_any_status_which_is_not_what_substitute_means_by_it(driver: Driver) -> None:
    for name, status in zip(NAMES, (0, 2, 3, 130), strict=True):
        driver.transport.hosts[name].exit = status
    outcomes = run(driver)
    assert list(states(outcomes).values()) == ["succeeded", "failed", "failed", "failed"]
    assert [one.exit for one in outcomes] == [0, 2, 3, 130]
    lines = list(outcome_lines(outcomes, lambda text, _: text, with_status=True))
    assert [line.split()[-1] for line in lines] == ["status", "0", "2", "3", "130"]


def test_that_a_command_was_refused_is_no_status_of_it(driver: Driver) -> None:
    driver.transport.hosts["web2"].locked = "no"
    outcomes = run(driver)
    assert states(outcomes)["web2"] == "refused"
    assert exit_status(outcomes) == 3


def test_how_a_command_ended_is_asked_where_its_connection_is_lost(driver: Driver) -> None:
    for name in NAMES:
        driver.transport.hosts[name].breaks_in = "run"
    driver.transport.hosts["web2"].exit = 5
    driver.transport.hosts["web3"].runs_on = 30
    driver.transport.hosts["web4"].dies = True
    outcomes = run(driver)
    assert list(states(outcomes).values()) == ["succeeded", "failed", "succeeded", "interrupted"]
    assert (outcomes[1].exit, outcomes[1].reason) == (5, "It ended with status 5.")
    assert "nobody saw how" in outcomes[3].reason


def test_what_became_of_a_command_that_nobody_can_ask_for_is_unknown(driver: Driver) -> None:
    driver.transport.hosts["web1"].breaks_in, driver.transport.hosts["web1"].then = "run", "down"
    outcomes = run(driver)
    assert states(outcomes)["web1"] == "unknown"
    assert exit_status(outcomes) == 1


def test_hosts_are_checked_one_after_the_other_whatever_comes_out(driver: Driver) -> None:
    driver.transport.hosts["web1"].trouble = "down"
    driver.transport.hosts["web2"].passes = False
    begun: list[str] = []

    def at_go(name: str) -> None:
        begun.append(name)
        ended = [one["host"] for one in driver.shown if one["event"] == "host_ended"]
        assert ended == list(NAMES[1 : NAMES.index(name)])

    driver.transport.at_go = at_go
    outcomes = in_turn(driver).check(None, ["--strict"])
    assert begun == ["web2", "web3", "web4"]
    assert list(states(outcomes).values()) == ["unreachable", "failed", "succeeded", "succeeded"]
    assert outcomes[1].reason == "1 of 1 checks failed."
    assert outcomes[2].result["commit"] == NEW
    assert driver.done()["web4"] == [["check", NEW, "-a", "shop", "--strict"]]


def test_a_drill_of_a_deployment_is_a_rollout_of_one_commit_and_one_release(driver: Driver) -> None:
    outcomes = in_turn(driver).drill("deploy", None, ["--rate", "5"])
    assert set(states(outcomes).values()) == {"succeeded"}
    words = ["drill", "deploy", NEW, "-a", "shop", "--rate", "5"]
    assert driver.done() == {"web1": [words], **{name: [[*words, "--skip-release"]] for name in NAMES[1:]}}


def test_a_drill_begins_nowhere_where_one_cannot_be_asked_and_not_after_a_failure(driver: Driver) -> None:
    driver.transport.hosts["web4"].trouble = "down"
    assert list(states(in_turn(driver).drill("restart", None, [])).values()) == [
        *["not begun"] * 3,
        "unreachable",
    ]
    assert not any(driver.done().values())
    driver.transport.hosts["web4"].trouble = ""
    driver.transport.hosts["web2"].fails = "ready"
    outcomes = in_turn(driver).drill("restart", None, [])
    assert list(states(outcomes).values()) == ["succeeded", "failed", "not begun", "not begun"]
    outcomes = in_turn(driver).drill(None, None, [])
    assert list(states(outcomes).values()) == ["succeeded", "failed", "succeeded", "succeeded"]


def test_what_was_typed_is_typed_there_with_the_command_last() -> None:
    command = command_of("run")
    assert command
    said = {"words": ("sh", "-c", "echo $X"), "slot": "b", "detach": True, "app": None}
    typed = ["run", "--slot", "b", "--detach", "--wait", "5.0", "--", "sh", "-c", "echo $X"]
    assert words_of(Call(wait=5.0), command, said, without=set()) == typed
    drill = command_of("drill")
    assert drill
    headers = ("A: 1", "B: 2")
    assert words_of(Call(), drill, {"headers": headers, "rate": 100.0}, without=set()) == [
        *("drill", "--header", "A: 1", "--header", "B: 2")
    ]


def test_the_page_of_many_hosts_names_each_command_that_can_be_typed_for_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text().partition("They belong to ")[2]
    named = re.findall(r"`([a-z]+)`", text.partition(".")[0])
    with_hosts = [
        name
        for name in COMMANDS
        if name != "hosts"
        and (command := command_of(name))
        and any("--hosts" in one.names for one in command.parameters)
    ]
    assert named == with_hosts


def test_a_release_that_a_host_tells_is_told_to_a_person() -> None:
    latest: dict[str, Any] = {
        "id": 3,
        "commit": NEW,
        "started": "2026-01-01T12:00:00.000Z",
        "release_outcome": "succeeded",
        "release_guard": "contract",
    }
    (line, refused) = release_lines({"app": "shop", "deployment": latest, "rollback_refused": "It is one."})
    assert line.startswith(f"shop: release of deployment 3 ({NEW[:10]}, ")
    assert line.endswith("): succeeded, contract")
    assert "is refused" in refused
    (line,) = release_lines({"app": "shop", "deployment": None, "rollback_refused": ""})
    assert line == "shop: no deployment has run a release yet"


@pytest.mark.parametrize(("terminal", "word"), [(True, "-t"), (False, "-T")])
def test_a_terminal_is_handed_through_where_there_is_one(terminal: bool, word: str) -> None:  # noqa: FBT001
    argv = ssh_command("web1", "true", connect_timeout=3.0, terminal=terminal)
    assert {"-t", "-T"} & set(argv) == {word}
