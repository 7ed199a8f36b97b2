"""The real command on real programs, with requests flowing. Not one may fail."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load
from substitute.linux.processes import identify
from tests.e2e.site import APP, fetch
from tests.e2e.traffic import ENOUGH, under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site


def test_deployments_in_quick_succession_fail_no_request(site: Site) -> None:
    site.run("deploy")

    def deploy(version: int) -> None:
        site.repository.commit(str(version))
        site.run("deploy")

    def four() -> None:
        for version in range(2, 6):
            deploy(version)

    assert under_load(site, four) >= {"1", "5"}
    site.assert_only_serves("a")


BAD = {
    "the build fails": ("build", {"build": "echo no such module; exit 3\n"}),
    "it exits at boot": ("ready", {"app": "raise SystemExit('cannot find the database')\n"}),
    "it never listens": ("ready", {"app": "import time\ntime.sleep(600)\n"}),
    "it answers 500": (
        "ready",
        {
            "app": "import os\nfrom http.server import *\n"
            "class H(BaseHTTPRequestHandler):\n    def do_GET(self): self.send_error(500)\n"
            "HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
        },
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_version_leaves_the_old_one_serving_and_the_next_deploy_works_unaided(
    site: Site, name: str
) -> None:
    site.run("deploy")
    phase, changes = BAD[name]
    site.configure(more='[app.shop.health]\ntimeout = "1s"\n')
    bad = site.repository.commit("bad", **changes)
    failed = site.events("deploy", exit_status=1)[-1]
    assert failed["event"] == "failed"
    assert (failed["phase"], failed["live"], failed["commit"]) == (phase, "a", bad)
    site.assert_only_serves("a")
    assert fetch(site.url) == "version 1\n"

    site.configure()
    site.repository.commit("2")
    site.run("deploy")
    site.assert_only_serves("b")


def test_a_failing_deployment_says_what_it_saw_who_serves_and_what_to_type(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2", app="raise SystemExit('cannot find the database')\n")
    said = site.run("deploy", exit_status=1).stderr
    assert "exited" in said
    assert "cannot find the database" in said
    assert "Slot a" in said
    assert "still serves" in said
    assert "substitute logs b" in said
    assert (
        "    ready: The instance in slot b exited. It ended with exit status 1." in site.run("history").stdout
    )
    known = site.run("history", "2").stdout
    assert "Version 2" in known
    typed = re.search(r"`substitute (logs --deployment 2)`", known)
    assert typed
    log = site.run(*typed[1].split()).stdout
    assert "cannot find the database" in log
    assert site.run(*typed[1].split(), "-n", "1").stdout == log.splitlines(keepends=True)[-1]
    assert json.loads(site.run("history", "2", "--json").stdout)["deployments"][0]["user"]
    assert "`substitute history` lists them" in site.run("history", "99", exit_status=2).stderr
    site.repository.commit("3")
    site.run("deploy", "--if-changed")
    assert site.events("deploy", "--if-changed")[-1]["event"] == "unchanged"
    site.assert_only_serves("b")


def test_a_failed_first_deployment_exits_with_4(site: Site) -> None:
    site.repository.commit("2", build="exit 1\n")
    site.run("deploy", exit_status=4)
    assert site.app()["live"] is None


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGTERM, signal.SIGHUP))],
)
def test_an_interruption_before_the_commit_leaves_the_old_version_serving(site: Site, number: int) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    site.repository.commit("2")

    def interrupt() -> None:
        with site.popen("deploy", "--json") as deploying:
            assert deploying.stdout
            for line in deploying.stdout:
                if json.loads(line).get("phase") == "verify":
                    break
            deploying.send_signal(number)
            rest = deploying.stdout.read()
        assert deploying.returncode == 130
        assert json.loads(rest.splitlines()[-1])["event"] == "interrupted"

    under_load(site, interrupt)
    site.assert_only_serves("a")


def test_a_killed_deployer_is_settled_by_its_guardian_with_nobody_typing(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    site.repository.commit("2")

    def kill() -> None:
        with site.popen("deploy", "--json") as deploying:
            assert deploying.stdout
            for line in deploying.stdout:
                if json.loads(line).get("phase") == "verify":
                    break
            deploying.kill()
        eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "the guardian stopped slot b")

    under_load(site, kill)
    site.assert_only_serves("a")
    history = json.loads(site.run("history", "--json").stdout)["deployments"]
    assert history[0]["outcome"] == "interrupted"


def test_a_build_that_outlives_its_deployer_is_ended(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2", build="echo building; sleep 600\n")
    with site.popen("deploy", "--json") as deploying:
        assert deploying.stdout
        for line in deploying.stdout:
            if json.loads(line).get("line") == "building":
                break
        deploying.kill()
    site.repository.commit("3")
    site.run("deploy")
    site.assert_only_serves("b")
    sleeping = [pid for pid in site.pids() if b"sleep\x00600" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert sleeping == []


def test_of_two_deployments_at_once_one_is_told_who_holds_the_lock(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    with site.popen("deploy", "--json") as first:
        assert first.stdout
        for line in first.stdout:
            if json.loads(line).get("phase") == "verify":
                break
        first.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{first.pid}/status")
        eventually(lambda: "State:\tT" in state.read_text(), "it is suspended")
        for cure in (r"`(kill -CONT \d+)`", r"`(kill \d+)`"):
            said = site.run("deploy", exit_status=3).stderr
            typed = re.search(cure, said)
            assert typed, said
            subprocess.run(["sh", "-c", typed[1]], check=True)
            eventually(lambda: "State:\tT" not in state.read_text(), "it goes on")
        first.communicate()
    assert first.returncode == 130
    assert f"pid {first.pid}" in said
    assert "verify" in said
    site.assert_only_serves("a")


def test_a_second_ctrl_c_in_the_drain_leaves_it_to_a_background_process_and_cuts_nothing(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.drain]\ntimeout = "60s"\n')
    site.repository.commit("2")
    with (
        urllib.request.urlopen(f"{site.url}stream?600", timeout=30) as stream,
        site.popen("deploy", "--json") as deploying,
    ):
        assert stream.readline() == b"data: version 1\n"
        assert deploying.stdout

        def read_until(key: str, value: str) -> None:
            for line in deploying.stdout or ():
                if value in str(json.loads(line).get(key)):
                    return
            raise AssertionError(f"it never said {value}")

        read_until("phase", "drain")
        waiting = site.run("deploy", exit_status=3).stderr
        assert "live already" in waiting
        assert "kill" not in waiting
        deploying.send_signal(signal.SIGINT)
        read_until("message", "Ctrl-C again leaves that to a background process")
        deploying.send_signal(signal.SIGINT)
        last = json.loads(deploying.stdout.read().splitlines()[-1])
        assert deploying.wait() == 0
        assert (last["event"], last["live"], last["drained"]["handed_over"]) == ("succeeded", "b", True)
        assert fetch(site.url) == "version 2\n"
        assert stream.readline() in {b"\n", b"data: version 1\n"}  # it goes on
        assert site.app()["slots"]["a"]["state"] == "draining"
    eventually(lambda: site.app()["slots"]["a"]["state"] == "idle", "the guardian stopped slot a")
    site.assert_only_serves("b")


def test_what_the_old_version_finishes_after_sigterm_is_not_told_as_cut(site: Site) -> None:
    slow = "await asyncio.sleep(float(seconds))"
    assert slow in APP.read_text()
    until_sigterm = APP.read_text().replace(slow, "await _stopping.wait()")
    site.repository.commit("1", app=until_sigterm)
    site.run("deploy")

    def deploy(version: str, more: str, path: str) -> tuple[dict[str, int], list[str]]:
        site.configure(more=f'[app.shop.drain]\ntimeout = "200ms"\n{more}')
        site.repository.commit(version)

        def ask() -> None:
            with (
                suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(site.url + path) as answer,
            ):
                answer.read()

        client = threading.Thread(target=ask)
        client.start()
        live = site.app()["live"]
        eventually(lambda: site.app()["slots"][live]["in_flight"] == 1, "the request is in flight")
        events = site.events("deploy")
        client.join()
        return events[-1]["drained"], [one["message"] for one in events if one["event"] == "warning"]

    drained, warned = deploy("2", "", "slow")
    assert (drained["finished"], drained["cut"], drained["at_sigterm"]) == (1, 0, 1)
    assert "still has 1 request after 0.2s" in warned[0]
    drained, _ = deploy("3", '[app.shop.stop]\ntimeout = "1s"\n', "stream?600")
    assert (drained["finished"], drained["cut"], drained["at_sigterm"]) == (0, 1, 1)


def test_after_a_crash_of_the_live_instance_no_get_fails_and_of_posts_only_those_in_flight(
    site: Site,
) -> None:
    site.repository.commit("1", app=APP.read_text())  # of one thread: its socket ends with it
    site.run("deploy")
    before = site.app()["slots"]["a"]["pid"]
    with Load(site.url, connections=16) as gets, Load(site.url, method="POST", connections=4) as posts:
        for load in (gets, posts):
            load.wait_for(ENOUGH)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: site.app()["slots"]["a"]["pid"] not in {before, None}, "it was started again")
        for load in (gets, posts):
            load.wait_for(ENOUGH)
        assert gets.stop().failures == []
        assert len(posts.stop().failures) <= 4  # at most the one that each connection had in flight
    assert site.app()["slots"]["a"]["state"] == "live"


def test_a_reload_of_the_balancer_fails_no_request_and_keeps_the_routes(site: Site) -> None:
    site.run("deploy")

    def add_an_app() -> None:
        other = (
            f'[app.other]\nrepo = "{site.repository.directory}"\nstart = "true"\n'
            f'ports = [{site.ports[0] + 1}, {site.ports[1] + 1}]\ndomains = ["other.example.com"]\n'
        )
        site.configure(more=other)
        site.run("up")

    under_load(site, add_an_app)


def test_stop_of_the_instance_that_serves_asks_for_force_and_up_respects_it(site: Site) -> None:
    site.run("deploy")
    assert "--force" in site.run("stop", "shop_a", exit_status=2).stderr
    site.assert_only_serves("a")
    site.run("stop", "shop_a", "--force")
    site.run("up")
    assert site.app()["slots"]["a"]["state"] == "idle"
    site.run("start", "shop_a", str(site.root / "shop_a"), str(site.ports[0]))
    site.assert_only_serves("a")


def test_down_stops_everything_and_up_brings_it_back(site: Site) -> None:
    site.run("deploy")
    site.run("down")
    assert site.pids() == set()
    site.run("up")
    site.assert_only_serves("a")
    assert fetch(site.url) == "version 1\n"


def test_up_after_everything_was_killed_at_once_serves_what_was_live(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    for pid in site.pids():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.pids(), "everything is gone")
    site.run("up")
    site.assert_only_serves("b")
    assert fetch(site.url) == "version 2\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_when_supervisord_is_killed_or_stopped_its_orphans_serve_until_the_next_deployment(
    site: Site, number: signal.Signals
) -> None:
    site.run("deploy")
    site.repository.commit("2")
    supervisord = int((site.root / "deploy/run/supervisord.pid").read_text())

    def kill_and_deploy() -> None:
        os.kill(supervisord, number)
        site.run("deploy")

    assert under_load(site, kill_and_deploy) == {"1", "2"}
    site.assert_only_serves("b")
    assert identify(supervisord) is None


def test_what_a_build_and_a_failed_boot_left_running_is_named_and_ended(site: Site) -> None:
    site.repository.commit("1", build="setsid sleep 7001 >/dev/null 2>&1 &\n")
    site.run("deploy")
    assert running("sleep\x007001")
    site.repository.commit("2")
    site.configure(start="setsid sleep 7002 & sleep 0.3; exit 3")
    failed = site.run("deploy", exit_status=1)
    assert "Slot b had left sleep (pid" in failed.stdout + failed.stderr
    assert "exit status 3" in failed.stdout + failed.stderr
    assert running("sleep\x007001"), "what the live slot's build left is not touched"
    assert not running("sleep\x007002")
    deaf = "setsid sh -c 'trap : TERM; while :; do sleep 7003; done'"
    site.configure(start=f"{deaf} & sleep 0.3; exit 4", more='[app.shop.stop]\ntimeout = "1s"\n')
    site.run("deploy", exit_status=1)
    assert not running("sleep\x007003"), "also what one that had to be killed has started at last"
    site.run("down")
    assert not running("sleep\x007001")


def running(title: str) -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with suppress(OSError):
            if Path("/proc", entry, "cmdline").read_text().startswith(title):
                found.append(int(entry))
    return found


def test_an_instance_that_supervisord_started_again_before_it_died_is_known_by_its_trace(
    site: Site,
) -> None:
    site.run("deploy")
    first = site.app()["slots"]["a"]["pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: site.app()["slots"]["a"]["pid"] not in {None, first}, "it was started again")
    again = site.app()["slots"]["a"]["pid"]
    os.kill(int((site.root / "deploy/run/supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: site.app()["slots"]["a"]["pid"] == again, "it is found")
    for version, slot in (("2", "b"), ("3", "a")):
        site.repository.commit(version)
        site.run("deploy")
        site.assert_only_serves(slot)


def test_up_waits_for_a_live_instance_that_was_started_again_a_moment_ago(site: Site) -> None:
    site.configure(start=f"sleep 3; exec {sys.executable} -S -E app.py")
    site.run("deploy")
    os.kill(site.app()["slots"]["a"]["pid"], signal.SIGKILL)
    site.run("up")
    site.assert_only_serves("a")


def test_hooks_run_in_their_order_and_the_last_always_runs(site: Site) -> None:
    hooks = site.root / "deploy/shop/hooks"
    hooks.mkdir(parents=True)
    names = "begin pre_checkout pre_install post_install pre_start post_start running pre_stop post_stop end"
    for name in names.split():
        hook = hooks / f"{name}.sh"
        hook.write_text(
            f'#!/bin/sh\necho "{name} $SUBSTITUTE_SLOT $SUBSTITUTE_OUTCOME" >> "$SUBSTITUTE_ROOT/ran"\n'
        )
        hook.chmod(0o755)
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    ran = [line.split() for line in (site.root / "ran").read_text().splitlines()]
    second = [line for line in ran if line[1] == "b"]
    assert [line[0] for line in second] == names.split()
    assert second[-1] == ["end", "b", "succeeded"]

    (hooks / "post_start.sh").write_text("#!/bin/sh\necho the cache is cold; exit 7\n")
    said = site.run("deploy", exit_status=1)
    assert "post_start" in said.stderr
    assert "the cache is cold" in said.stderr
    assert (site.root / "ran").read_text().splitlines()[-1] == "end a failed"
    site.assert_only_serves("b")
    (hooks / "post_start.sh").unlink()

    # One of the repository's without its run bit is told before anything is built, with the line that mends it.
    tracked = site.repository.directory / ".substitute/hooks/post_start"
    tracked.parent.mkdir(parents=True)
    tracked.write_text("#!/bin/sh\n")
    site.repository.commit("3", build=f"touch {site.root}/built\n")
    said = site.run("deploy", exit_status=1)
    assert "The hook post_start is not executable" in said.stderr
    assert not (site.root / "built").exists()
    (advised,) = re.findall(r"`(git [^`]+)`", said.stderr)
    typed = f"{advised} && git -c user.name=x -c user.email=x@localhost commit --quiet --message x"
    subprocess.run(["sh", "-c", typed], cwd=site.repository.directory, check=True)
    site.run("deploy")
    site.assert_only_serves("a")


def test_a_commit_that_looks_like_an_option_or_does_not_exist_is_refused(site: Site) -> None:
    site.run("deploy")
    site.run("deploy", "--upload-pack=touch", exit_status=2)
    assert "nowhere" in site.run("deploy", "nowhere", exit_status=2).stderr
    site.assert_only_serves("a")


def test_logs_follow_across_a_switch(site: Site) -> None:
    site.run("deploy")
    with site.popen("logs", "-f") as following:
        assert following.stdout
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(following.stdout or ()))
        reader.start()
        site.repository.commit("2")
        site.run("deploy")
        eventually(
            lambda: any("version 1 has finished" in line for line in list(seen)), "the old one's last line"
        )
        eventually(
            lambda: any("version 2 listens" in line for line in list(seen)), "the new one's first line"
        )
        following.send_signal(signal.SIGINT)
        reader.join()


def test_signposts_say_what_the_journal_says(site: Site) -> None:
    site.run("deploy")
    assert (site.root / "deploy/shop/next_deploy").read_text() == "b\n"
    assert (site.root / "shop_current").resolve() == site.root / "shop_a"
