"""The real command on the real HAProxy: a drill tells what requests saw, and nothing is made up."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import traffic_app
from tests.e2e.site import APP
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site

pytestmark = pytest.mark.slow

TRAFFIC = Path(traffic_app.__file__).read_text(encoding="utf-8")
SHORT = ("--before", "500ms", "--after", "500ms")
BROKEN_PAGE = APP.read_text().replace(
    '    if path == "/crash":',
    '    if path == "/page" and VERSION == "2":\n'
    '        writer.write(b"HTTP/1.1 500 No\\r\\nX-Version: 2\\r\\nContent-Length: 0\\r\\n\\r\\n")\n'
    "        await writer.drain()\n"
    "        return True\n"
    '    if path == "/crash":',
)


def drill(site: Site, *arguments: str, exit_status: int = 0) -> dict[str, Any]:
    """The document of a drill; it is all that stands on standard output."""
    document: dict[str, Any] = json.loads(
        site.run("drill", *arguments, "--json", exit_status=exit_status).stdout
    )
    return document


def test_a_deploy_under_the_drill_fails_no_request_and_both_versions_answer(
    site: Site, tmp_path: Path
) -> None:
    site.run("deploy")
    second = site.repository.commit("2")
    report = tmp_path / "report.html"
    beside = ("--slow", "/slow?0.3", "--upload", "/", "--pause", "300ms", "--sse", "/stream?0.3")
    found = drill(site, "deploy", *SHORT, "--expect", "version", *beside, "--report", str(report))
    assert (found["outcome"], found["exit"], found["failed"], found["failures"]) == ("succeeded", 0, 0, [])
    assert set(found["versions"]) >= {"1", "2"}
    assert (found["commit"], found["live"], found["operation"]) == (second, "b", "deploy")
    assert all(found["latency"][part]["requests"] > 0 for part in ("before", "during", "after"))
    names = [phase["name"] for phase in found["phases"]]
    assert [names[0], names[1], names[-1]] == ["before", "begin", "after"]
    assert names[2:-1] == ["update", "build", "start", "ready", "admit", "verify", "commit", "drain", "stop"]
    lanes = found["lanes"]
    assert set(lanes) == {"keep-alive", "new connection", "slow", "upload", "sse"}
    assert all(lane["requests"] and not lane["failed"] for lane in lanes.values())
    assert found["requests"] == sum(lane["requests"] for lane in lanes.values())
    assert "no request failed" in report.read_text()
    site.assert_only_serves("b")


@pytest.mark.long
@pytest.mark.parametrize("operation", ["rollback", "restart"])
def test_the_other_operations_can_be_drilled_with_posts(site: Site, operation: str) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    found = drill(site, operation, *SHORT, "--method", "POST", "--body", "hello", "--expect", "hello")
    assert (found["outcome"], found["failed"], found["live"]) == ("succeeded", 0, "a")
    assert set(found["versions"]) >= ({"1", "2"} if operation == "rollback" else {"2"})


def test_a_websocket_of_the_old_version_is_closed_without_a_close_frame_and_that_is_told(site: Site) -> None:
    site.configure(more='[app.shop.drain]\ntimeout = "500ms"\n')
    site.repository.commit("1", app=TRAFFIC)
    site.run("deploy")
    site.repository.commit("2", app=TRAFFIC)
    found = drill(site, "deploy", *SHORT[:3], "3s", "--websocket", "/websocket", exit_status=1)
    assert found["outcome"] == "succeeded"
    assert {one["lane"] for one in found["failures"]} == {"websocket"}
    assert {one["phase"] for one in found["failures"]} <= {"stop", "after"}
    assert found["lanes"]["websocket"]["failed"] == 4
    assert found["lanes"]["websocket"]["opened"] == 8


def test_a_broken_build_is_a_legitimate_drill(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("bad", build="echo no such module; exit 3\n")
    found = drill(site, "deploy", *SHORT, exit_status=1)
    assert (found["outcome"], found["failed"], found["exit"]) == ("failed", 0, 1)
    assert "no such module" in found["reason"]
    assert found["latency"]["after"]["requests"] > 0
    assert set(found["versions"]) == {"1"}
    site.assert_only_serves("a")
    said = site.run("drill", "deploy", *SHORT, exit_status=1)
    assert "no such module" in said.stderr
    assert re.search(r"0 of [\d,]+ requests failed \(deploy failed\)\n$", said.stdout)


def test_requests_that_the_new_version_fails_are_counted_with_their_phase(site: Site, tmp_path: Path) -> None:
    site.repository.commit("1", app=BROKEN_PAGE)
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "1s"\n')
    site.repository.commit("2", app=BROKEN_PAGE)
    report = tmp_path / "report.html"
    found = drill(site, "deploy", *SHORT, "--path", "/page", "--report", str(report), exit_status=1)
    assert (found["outcome"], found["exit"]) == ("succeeded", 1)
    assert found["failed"] == len(found["failures"]) > 0
    assert {one["kind"] for one in found["failures"]} == {"5xx"}
    phases = {one["phase"] for one in found["failures"]}
    assert phases >= {"verify", "after"}
    assert phases <= {"admit", "verify", "commit", "drain", "stop", "after"}
    assert found["latency"]["before"]["failed"] == 0
    assert report.read_text().count("status 500") >= found["failed"]


def test_without_an_operation_there_is_only_load_and_it_says_so(site: Site) -> None:
    site.run("deploy")
    assert [phase["name"] for phase in drill(site, "--duration", "300ms")["phases"]] == ["baseline"]
    said = site.run("drill", "--duration", "500ms").stdout
    assert "this is a baseline" in said
    assert re.search(r"0 of [\d,]+ requests failed \(baseline, no operation\)\n$", said)
    assert site.app()["live"] == "a"


def test_requests_that_are_under_way_when_the_load_ends_are_answered_and_counted(site: Site) -> None:
    site.run("deploy")
    found = drill(site, "--duration", "300ms", "--slow", "/slow?1")
    assert found["lanes"]["slow"] == {"requests": 4, "failed": 0}


def test_history_shows_the_drills(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    found = drill(site, "deploy", *SHORT)
    drill(site, "--duration", "300ms")
    told = json.loads(site.run("history", "--json").stdout)
    assert [one["operation"] for one in told["drills"]] == [None, "deploy"]
    assert told["drills"][1]["deployment"] == told["deployments"][0]["id"] == found["deployment"]
    assert told["drills"][1]["requests"] == found["requests"]
    text = site.run("history").stdout
    assert re.search(rf"deploy +{found['deployment']} +{found['requests']:,} +none", text)
    assert "baseline" in text


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interruption_in_the_operation_ends_both_and_shows_what_there_is(site: Site, number: int) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    site.repository.commit("2")
    with site.popen("drill", "deploy", "--json", *SHORT) as drilling:
        eventually(
            lambda: (site.app()["deployment"] or {}).get("phase") == "verify", "the deployment is verified"
        )
        drilling.send_signal(number)
        document = json.loads(drilling.communicate(timeout=60)[0])
    assert drilling.returncode == document["exit"] == 130
    assert (document["outcome"], document["failed"]) == ("interrupted", 0)
    assert set(document["versions"]) == {"1", "2"}
    site.assert_only_serves("a")
    assert not [pid for pid in site.pids() if b"drill.client.generator" in _command(pid)]


def test_an_interruption_before_the_operation_deploys_nothing(site: Site) -> None:
    site.run("deploy")
    with site.popen("drill", "deploy", "--before", "60s") as drilling:
        eventually(
            lambda: any(b"drill.client.generator" in _command(pid) for pid in site.pids()), "load flows"
        )
        drilling.send_signal(signal.SIGINT)
        out, err = drilling.communicate(timeout=60)
    assert drilling.returncode == 130
    assert "interrupted" in err
    assert "of" in out
    assert len(json.loads(site.run("history", "--json").stdout)["deployments"]) == 1


def test_a_generator_that_dies_is_told_and_no_proof_of_anything(site: Site) -> None:
    site.run("deploy")
    with site.popen("drill", "--duration", "60s", "--json") as drilling:
        generators: list[int] = []

        def found() -> bool:
            generators[:] = [pid for pid in site.pids() if b"drill.client.generator" in _command(pid)]
            return bool(generators)

        eventually(found, "load flows")
        os.kill(generators[0], signal.SIGKILL)
        document = json.loads(drilling.communicate(timeout=60)[0])
    assert drilling.returncode == document["exit"] == 1
    assert document["complete"] is False


def test_the_load_ends_when_the_drill_is_killed(site: Site) -> None:
    site.run("deploy")

    def generators() -> list[int]:
        return [pid for pid in site.pids() if b"drill.client.generator" in _command(pid)]

    with site.popen("drill", "--duration", "60s") as drilling:
        eventually(lambda: bool(generators()), "load flows")
        drilling.kill()
    eventually(lambda: not generators(), "the generator has noticed")


def test_a_front_door_that_does_not_answer_well_is_no_place_for_a_drill(site: Site) -> None:
    assert "refused" in site.run("drill", "deploy", exit_status=2).stderr
    site.run("deploy")
    site.repository.commit("2", app=BROKEN_PAGE)
    site.run("deploy")
    assert "status 500" in site.run("drill", "deploy", "--path", "/page", exit_status=2).stderr
    assert "--url" in site.run("drill", "--url", "nonsense", exit_status=2).stderr
    assert "commit" in site.run("drill", "rollback", "v1", exit_status=2).stderr
    assert "Name: value" in site.run("drill", "--header", "A: b\r\nC: d", exit_status=2).stderr


def test_a_terminal_shows_it_live(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    command = [sys.executable, "-m", "substitute", "-C", str(site.root), "drill", "deploy", *SHORT]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as drilling:
        os.close(theirs)
        seen = b""
        while data := _read(ours):
            seen += data
    os.close(ours)
    assert drilling.returncode == 0
    text = seen.decode()
    assert "requests " in text
    assert "█" in text
    assert "0 of" in text.splitlines()[-1]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
