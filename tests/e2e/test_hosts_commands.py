"""Several real machines over the real ssh: commands and crons there, checks and drills on one after the other."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.rollouts import CRON, FAILS_SOMEWHERE, HOME, RELEASE, begun, go_on, old_and_new
from tests.e2e.terminals import Terminal
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.fleets import Fleet

pytestmark = pytest.mark.slow

WAITING = f"touch {HOME}/begun; while [ ! -e {HOME}/go ]; do sleep 0.05; done"
FAST = ("--before", "0.2", "--after", "0.2", "--rate", "20")


def states(events: list[dict[str, Any]]) -> dict[str, str]:
    return {one["host"]: one["state"] for one in events[-1]["hosts"]}


def runs_there(fleet: Fleet, name: str, mark: str) -> bool:
    return fleet.machines[name].run("pgrep", "-f", mark, check=False).returncode == 0


def test_a_command_runs_on_all_and_each_line_names_its_host(fleet: Fleet) -> None:
    fleet.machines["web2"].run("touch", f"{HOME}/broken")
    typed = ("run", "--hosts", "all", "--", "sh", "-c", f"echo --json; test ! -e {HOME}/broken || exit 7")
    shown = fleet.run(*typed, exit_status=7)
    lines = shown.stdout.splitlines()
    assert {line for line in lines if "--json" in line} == {f"{name} | --json" for name in fleet.names}
    assert [line.split() for line in lines[-4:]] == [
        ["host", "outcome", "status"],
        ["web1", "succeeded", "0"],
        ["web2", "failed", "7"],
        ["web3", "succeeded", "0"],
    ]
    assert "web2: It ended with status 7." in shown.stderr


def test_on_one_host_a_command_has_the_pipes_of_who_typed_it(fleet: Fleet) -> None:
    given = bytes(range(256)) * 400
    done = subprocess.run(
        fleet.command("run", "--on", "web1", "--", "sh", "-c", "cat; echo aside >&2; exit 9"),
        input=given,
        env=fleet.environment,
        capture_output=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (given, b"aside\n", 9)


def test_on_one_host_it_ends_with_who_typed_it(fleet: Fleet) -> None:
    with fleet.begun("run", "--on", "web1", "--", "sleep", "4711") as process:
        eventually(lambda: runs_there(fleet, "web1", "sleep 4711"), "it runs")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode
    eventually(lambda: not runs_there(fleet, "web1", "sleep 4711"), "nothing is left of it")


def test_on_one_host_a_command_has_the_terminal_of_who_typed_it(fleet: Fleet) -> None:
    script = "stty size; read word; echo got $word; trap 'exit 5' INT; while :; do sleep 0.1; done"
    typed = fleet.command("run", "--on", "web1", "--", "sh", "-c", script)
    with Terminal(["env", f"XDG_RUNTIME_DIR={fleet.place}", *typed], size=(31, 97)) as terminal:
        terminal.expect("31 97")
        terminal.type("hello\r")
        terminal.expect("got hello")
        terminal.type("\x03")
        assert terminal.wait() == 5


def test_one_host_that_cannot_be_reached_is_told_as_ever(fleet: Fleet) -> None:
    link = "/usr/local/bin/substitute"
    fleet.machines["web1"].run("mv", link, f"{link}.away")
    try:
        told = fleet.run("run", "--on", "web1", "--", "true", exit_status=1).stderr
        assert "substitute is not installed on web1" in told
        assert "hosts setup --on web1" in told
    finally:
        fleet.machines["web1"].run("mv", f"{link}.away", link)


def test_ctrl_c_ends_a_command_on_every_host(fleet: Fleet) -> None:
    with fleet.begun("run", "--hosts", "all", "--json", "--", "sh", "-c", WAITING) as driver:
        begun(fleet, *fleet.names)
        driver.send_signal(signal.SIGINT)
        out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, out + err
    assert set(states([json.loads(line) for line in out.splitlines()]).values()) == {"interrupted"}
    assert not any(runs_there(fleet, name, "while .* -e .*/go") for name in fleet.names)


def test_what_became_of_a_command_is_asked_where_its_connection_is_lost(fleet: Fleet) -> None:
    script = f"{WAITING}; test ! -e {HOME}/broken || exit 5"
    fleet.machines["web2"].run("touch", f"{HOME}/broken")
    with fleet.begun("run", "--hosts", "all", "--json", "--", "sh", "-c", script) as driver:
        begun(fleet, *fleet.names)
        for name in ("web2", "web3"):
            fleet.signal_relays(name, signal.SIGKILL)
        eventually(lambda: fleet.relays("web2") and fleet.relays("web3"), "they are asked again")
        go_on(fleet, *fleet.names)
        out, err = driver.communicate(timeout=120)
    events = [json.loads(line) for line in out.splitlines()]
    assert driver.returncode == 5, out + err
    assert sorted(one["host"] for one in events if one["event"] == "lost") == ["web2", "web3"]
    assert states(events) == {"web1": "succeeded", "web2": "failed", "web3": "succeeded"}
    assert events[-1]["hosts"][1]["exit"] == 5


def test_a_detached_command_has_a_name_on_each_host(fleet: Fleet) -> None:
    events = fleet.events("run", "--hosts", "all", "--detach", "--", "echo", "hello")
    names = {one["host"]: one["result"]["run"] for one in events[-1]["hosts"]}
    assert set(names) == set(fleet.names)

    def ended() -> bool:
        found = fleet.document("history", "--hosts", "all", "--runs")
        return all(found[name]["history"]["runs"][0]["outcome"] == "succeeded" for name in names)

    eventually(ended, "each has ended")
    table = fleet.run("history", "--hosts", "all", "--runs", "-n", "3").stdout.splitlines()
    assert [line.split()[2:4] for line in sorted(table[1:], key=lambda line: line.split()[2])] == [
        [name, names[name]] for name in fleet.names
    ]
    assert f"web2 | {names['web2']} | hello" in fleet.run("logs", names["web2"], "--on", "web2").stdout


def test_crons_are_listed_run_and_left_to_one_host(fleet: Fleet) -> None:
    fleet.run("cron", "pause", "digest", "--hosts", "all", "--without", "web1")
    try:
        rows = [line.split() for line in fleet.run("cron", "--hosts", "all").stdout.splitlines()]
        assert [row[:2] for row in rows[1:]] == [[name, "digest"] for name in fleet.names]
        assert ["paused" in row for row in rows[1:]] == [False, True, True]
        fleet.machines["web3"].run("touch", f"{HOME}/broken")
        ran = fleet.run("cron", "run", "digest", "--hosts", "all", exit_status=1).stdout
        assert all(f"{name} | digest" in ran for name in fleet.names)
        past = fleet.document("history", "--hosts", "all", "--cron", "-n", "1")
        outcomes = [past[name]["history"]["runs"][0]["outcome"] for name in fleet.names]
        assert outcomes == ["succeeded", "succeeded", "failed"]
    finally:
        fleet.run("cron", "resume", "digest", "--hosts", "all")
    listed = fleet.document("cron", "--hosts", "all")
    assert not any(one["cron"]["crons"][0]["paused"] for one in listed.values())


def test_hosts_are_checked_one_after_the_other(fleet: Fleet) -> None:
    old, new = old_and_new(fleet, FAILS_SOMEWHERE)
    fleet.machines["web1"].run("touch", f"{HOME}/broken")
    events = fleet.events("check", "--on", "web1,web2", exit_status=1)
    assert states(events) == {"web1": "failed", "web2": "succeeded"}
    assert events[-1]["hosts"][1]["result"]["commit"] == new
    of_hosts = [one["host"] for one in events if "host" in one]
    assert of_hosts == sorted(of_hosts)
    assert set(fleet.live().values()) == {old}


@pytest.mark.long
def test_what_a_check_saw_is_shown_for_each_host(fleet: Fleet) -> None:
    lines = fleet.run("check", "--on", "web1,web2").stdout.splitlines()
    assert [line.split()[0] for line in lines if "SIGTERM reaches" in line or "arrives" in line] == [
        "web1",
        "web2",
    ]
    assert [line.split()[:2] for line in lines[-2:]] == [["web1", "succeeded"], ["web2", "succeeded"]]


def test_each_host_holds_its_drill_and_its_report_is_fetched(fleet: Fleet, tmp_path: Path) -> None:
    fleet.reconfigure(f"{RELEASE}\n{CRON}")
    old, new = old_and_new(fleet, "true\n")
    report = tmp_path / "drill.html"
    shown = fleet.run("drill", "deploy", "--on", "web1,web2", *FAST, "--report", str(report))
    assert [line.split()[:2] for line in shown.stdout.splitlines() if line.startswith("web")][-2:] == [
        ["web1", "succeeded"],
        ["web2", "succeeded"],
    ]
    verdicts = [line for line in shown.stdout.splitlines() if "requests failed (deploy" in line]
    assert [line.partition(" of ")[0] for line in verdicts] == ["web1 | 0", "web2 | 0"], shown.stdout
    assert all("</html>" in (tmp_path / f"drill-{name}.html").read_text() for name in ("web1", "web2"))
    assert fleet.live() == {"web1": new, "web2": new, "web3": old}
    assert fleet.machines["web1"].run("cat", f"{HOME}/released").stdout.split() == [new]
    assert fleet.machines["web2"].run("cat", f"{HOME}/released", check=False).returncode


@pytest.mark.long
def test_no_drill_begins_after_one_that_has_failed(fleet: Fleet) -> None:
    old, _ = old_and_new(fleet, FAILS_SOMEWHERE)
    fleet.machines["web1"].run("touch", f"{HOME}/broken")
    events = fleet.events("drill", "deploy", "--hosts", "all", *FAST, exit_status=1)
    assert states(events) == {"web1": "failed", "web2": "not begun", "web3": "not begun"}
    assert set(fleet.live().values()) == {old}
