"""One-off commands in the live version: at a terminal, in a pipe, detached, and what they mean for a deployment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.state.lock import holder_of
from substitute.linux.processes import command_line, identify, is_alive, parent, signal_process
from tests.documents import DOCS, Reader
from tests.e2e.runtimes import BOTH, SYSTEMD_IN_LONG
from tests.e2e.site import Site, killed
from tests.e2e.terminals import Terminal
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOW = "pwd; env | sort; cat; exit 7"
WAIT = ("sh", "-c", "echo begun; while test ! -e ../go; do sleep 0.05; done; echo done; exit 5")


@pytest.fixture(params=BOTH)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param
    (made.root / "key").write_text("hidden\n")
    made.configure(more='env = { COLOR = "red" }\nsecrets = { KEY = { file = "key" } }\n')
    yield made
    (made.root / "go").touch()
    made.close()


def runs(site: Site) -> list[dict[str, Any]]:
    """What runs now."""
    found: list[dict[str, Any]] = site.app()["runs"]
    return found


def ran(site: Site) -> list[dict[str, Any]]:
    """What ran, the latest first."""
    found: list[dict[str, Any]] = json.loads(site.run("history", "--runs", "--json").stdout)["runs"]
    return found


def detached(site: Site, *words: str) -> str:
    return site.run("run", "--detach", *words).stdout.strip()


@SYSTEMD_IN_LONG
def test_a_command_runs_as_an_instance_does_and_its_exit_status_is_that_of_run(site: Site) -> None:
    refused = site.run("run", "--", "true", exit_status=2).stderr
    assert "No version of shop is live" in refused
    site.run("deploy")
    (site.root / "key").write_text("another\n")
    command = site.command("run", "--", "sh", "-c", SHOW)
    seen = subprocess.run(command, input="typed\n", capture_output=True, text=True, check=False)
    assert seen.returncode == 7, seen.stderr
    first, *environment, last = seen.stdout.splitlines()
    assert (first, last) == (str(site.root / "shop_a"), "typed")
    given = dict(line.split("=", 1) for line in environment)
    assert (given["COLOR"], given["KEY"]) == ("red", "hidden")
    assert (given["SUBSTITUTE_SLOT"], given["SUBSTITUTE_RUN"]) == ("a", "1")
    assert given["SUBSTITUTE_COMMIT"] == site.app()["slots"]["a"]["commit"]
    assert not given.keys() & {"PORT", "SUBSTITUTE_PORT", "TERM"}
    site.run("run", "--", "sh", "-c", "kill -TERM $$", exit_status=143)
    assert "nothing-of-that-name" in site.run("run", "--", "nothing-of-that-name", exit_status=127).stderr
    assert [(run["outcome"], run["status"]) for run in ran(site)] == [("failed", n) for n in (127, 143, 7)]
    refused = site.run("run", "--detach", "--", "nothing-of-that-name", exit_status=2).stderr
    assert "There is no program nothing-of-that-name for slot a" in refused
    assert "no program ./nothing" in site.run("run", "--detach", "--", "./nothing", exit_status=2).stderr
    assert len(ran(site)) == 3
    assert ran(site)[2]["command"] == f"sh -c '{SHOW}'"
    assert ran(site)[2]["user"]
    site.run("history", "--runs")


@SYSTEMD_IN_LONG
def test_a_prompt_has_the_terminal_with_its_size_ctrl_c_and_all(site: Site) -> None:
    site.run("deploy")
    with Terminal(site.command("run", "--", sys.executable, "-q"), size=(33, 111)) as terminal:
        modes = terminal.modes
        terminal.expect(">>> ")
        terminal.type(
            "import os, sys, time; os.isatty(0), os.getpgrp() == os.getpid(), *os.get_terminal_size()\r"
        )
        terminal.expect("(True, True, 111, 33)")
        # Many short sleeps: a Ctrl-C in the instant before a sleep is only seen by Python when the sleep ends.
        terminal.type("print('as' + 'leep'); [time.sleep(0.1) for _ in range(10_000)]\r")
        terminal.expect("asleep")
        terminal.type("\x03")
        terminal.expect("KeyboardInterrupt")
        terminal.expect(">>> ")
        terminal.resize(20, 60)
        terminal.type("'wide:', os.get_terminal_size().columns\r")
        terminal.expect("'wide:', 60)")
        (run,) = runs(site)
        assert (run["slot"], run["detached"]) == ("a", False)
        terminal.type("sys.exit(3)\r")
        assert terminal.wait() == 3
        assert terminal.modes == modes, "the prompt's own modes are not left behind"


@SYSTEMD_IN_LONG
def test_a_job_of_a_shell_stops_and_goes_on(site: Site) -> None:
    site.run("deploy")
    typed = " ".join(site.command("run", "--", "sed", "-u", "s/^/got-/"))
    with Terminal(["bash", "--norc", "-i"]) as terminal:
        terminal.type(f"PS1='prompt'; {typed}\r")
        eventually(lambda: runs(site), "it runs")
        terminal.type("one\r")
        terminal.expect("got-one")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("echo an$((1))swer\r")
        terminal.expect("an1swer")
        terminal.type("fg\r")
        eventually(lambda: terminal.in_front == runs(site)[0]["pid"], "it is in the foreground again")
        terminal.type("two\r")
        terminal.expect("got-two")
        terminal.type("\x04")
        terminal.type("echo status$?\r")
        terminal.expect("status0")


def test_a_detached_command_outlives_its_terminal_and_a_switch_and_its_slot_is_not_changed(
    site: Site,
) -> None:
    site.run("deploy")
    with Terminal(site.command("run", "--detach", "--", *WAIT)) as terminal:
        terminal.expect("run-1")
        assert terminal.wait() == 0
    (run,) = runs(site)
    process = identify(run["pid"])
    assert process
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")
    site.repository.commit("3")
    refused = site.run("deploy", exit_status=3).stderr
    for told in (
        run["name"],
        str(run["pid"]),
        run["user"],
        "while test",
        "`substitute stop run-1`",
        "--wait",
    ):
        assert told in refused
    site.run("check", exit_status=3)
    site.run("rollback")  # which changes no files
    site.run("rollback")
    assert "run-1" in site.run("down").stdout
    assert is_alive(process)
    site.run("up")
    site.assert_only_serves("b")
    assert "begun" in site.run("logs", "run-1").stdout
    with site.popen("logs", "run-1", "-f") as following, site.popen("deploy", "--wait", "60s") as waiting:
        lock = site.root / "deploy" / "run" / "shop.lock"
        eventually(lambda: (holder := holder_of(lock)) and holder.phase == "waiting for run-1", "it waits")
        (site.root / "go").touch()
        out, err = waiting.communicate(timeout=60)
        followed, _ = following.communicate(timeout=60)
    assert waiting.returncode == 0, out + err
    assert "run-1: `sh -c " in out
    assert followed.splitlines() == ["begun", "done"]
    site.assert_only_serves("a")
    assert (ran(site)[0]["outcome"], ran(site)[0]["status"]) == ("failed", 5)


def test_what_is_stopped_ends_with_all_that_it_started_and_what_was_killed_is_told_once(site: Site) -> None:
    site.run("deploy")
    name = detached(site, "--", "sh", "-c", "setsid sleep 1000 & exec sleep 1000")
    eventually(lambda: len(sleepers(site)) == 2, "both run")
    assert "ended" in site.run("stop", name).stdout
    assert not sleepers(site)
    assert (ran(site)[0]["outcome"], ran(site)[0]["status"]) == ("failed", 143)
    detached(site, "--", "sleep", "1000")
    (run,) = runs(site)
    keeper = parent(run["pid"])
    assert keeper
    command = identify(run["pid"])
    assert command
    killed(keeper)
    signal_process(command, signal.SIGKILL)
    eventually(lambda: not is_alive(command), "it is gone")
    assert "run-2" in site.run("up").stdout
    assert "run-2" not in site.run("up").stdout
    assert ran(site)[0]["outcome"] == "lost"


@SYSTEMD_IN_LONG
def test_how_to_run_a_console_or_a_one_off_command(site: Site, tmp_path: Path) -> None:
    site.run("deploy")
    typed = {"python manage.py shell": "cat", "bin/rails console": "cat", "pg_dump shop": "pwd"}
    words = {**typed, "python manage.py reindex": "sleep 1000", "run-7": "run-5"}
    with Reader(tmp_path / "reader", replace=words) as reader:
        reader.type(f"cd {site.root}")
        reader.follow(DOCS / "howto/one-off-commands.md")
    assert (site.root / "shop.sql").read_text() == f"{site.root / 'shop_a'}\n"
    site.run("stop", "run-5")
    assert runs(site) == []


def sleepers(site: Site) -> list[int]:
    """What sleeps in the live slot."""
    return [pid for pid in site.pids() if command_line(pid) == ["sleep", "1000"]]
