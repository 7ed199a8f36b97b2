from __future__ import annotations

import pytest

from substitute.core.deploy.running.wrappers import barrier
from substitute.core.model.programs import Process
from substitute.core.ports.observer import Member
from substitute.probing.platforms import runner_of


def member(pid: int, name: str, *, parent: int = 1, listens: bool = False, handles: bool = True) -> Member:
    return Member(Process(pid, pid, "boot"), name, listens, parent=parent, handles_signal=handles)


NPM, SHELL = member(10, "npm"), member(11, "sh", parent=10, handles=False)
NODE = member(12, "node", parent=11, listens=True)


def test_what_listens_itself_gets_the_signal_whatever_it_does_with_it() -> None:
    alone = member(10, "python3", listens=True, handles=False)
    assert barrier([alone], alone.process) is None
    assert barrier([alone, member(11, "python3", parent=10, listens=True)], alone.process) is None


def test_a_shell_in_between_is_named_as_the_one_that_does_not_pass_it_on() -> None:
    found = barrier([NPM, SHELL, NODE], NPM.process)
    assert found
    assert found.keeper == SHELL
    assert found.told == (
        "npm (pid 10) gets it, and sh (pid 11) does not pass it on to node (pid 12), which listens"
    )
    assert "without npm" in found.cure("SIGTERM")
    assert "`exec`" in found.cure("SIGTERM")


def test_a_shell_that_waits_is_named_once() -> None:
    shell = member(10, "sh", handles=False)
    found = barrier([shell, member(12, "next-server", parent=10, listens=True)], shell.process)
    assert found
    assert found.told.startswith("sh (pid 10) gets it and does not pass it on to next-server (pid 12)")
    assert "`exec`" in found.cure("SIGTERM")
    assert "next-server" not in found.cure("SIGTERM"), "a title that cannot be typed"


@pytest.mark.parametrize(
    "members",
    [
        [NPM, member(12, "node", parent=10, listens=True)],
        [NPM, member(12, "node", parent=1, listens=True)],
        [NPM, SHELL],
        [SHELL, NODE],
    ],
    ids=["it may pass it on", "left its family", "nobody listens", "the main one is gone"],
)
def test_nothing_is_said_where_nothing_is_known(members: list[Member]) -> None:
    assert barrier(members, NPM.process) is None


def test_one_whose_family_cannot_be_followed_is_reached_by_nobody_where_the_main_process_just_ends() -> None:
    shell = member(10, "sh", handles=False)
    assert barrier([shell, member(12, "node", parent=1, listens=True)], shell.process)


@pytest.mark.parametrize(
    ("line", "runner"),
    [
        ("npm start", "npm"),
        ("node /usr/lib/node_modules/npm/bin/npm-cli.js", ""),
        ("node /srv/.bin/yarn start", "yarn"),
        ("node /srv/pnpm.cjs run server", "pnpm"),
        ("node www.js yarn", ""),
        ("", ""),
    ],
)
def test_a_runner_of_scripts_is_known_by_its_command_line(line: str, runner: str) -> None:
    assert runner_of(line.split()) == runner


def test_a_title_is_not_shown_as_the_program() -> None:
    shown = Member(Process(7, 7, "boot"), "next-server", listens=True, program="node")
    assert str(shown) == "next-server (pid 7, a node process)"
    assert str(NODE) == "node (pid 12)"
