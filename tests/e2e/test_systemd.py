"""The real command on a real systemd, with requests flowing: as root, and as a user with a manager of his own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site, killed
from tests.e2e.test_deployments import BAD
from tests.e2e.traffic import under_load
from tests.machines import USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYSTEM = pytest.param("--system", marks=pytest.mark.machine)
SYSTEM_IN_LONG = pytest.mark.parametrize(
    "manager",
    [
        pytest.param("--system", marks=[pytest.mark.machine, pytest.mark.long]),
        pytest.param("--user", marks=pytest.mark.machine(user=USER)),
    ],
)
USERS_IN_LONG = pytest.mark.parametrize(
    "manager", [SYSTEM, pytest.param("--user", marks=[pytest.mark.machine(user=USER), pytest.mark.long])]
)
"""A manager of a user's is asked the same. `make test` has one deployed on, rolled back and restarted with."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = "systemd"
    made.configure()
    yield made
    made.close()


def unit(site: Site, manager: str, name: str) -> str:
    listed = systemctl(manager, "list-units", "--plain", "--no-legend", f"substitute-*-{name}.service")
    (found,) = listed.split()[:1]
    return found


def systemctl(manager: str, *arguments: str) -> str:
    return subprocess.run(
        ["systemctl", manager, "--no-pager", *arguments], capture_output=True, text=True, check=True
    ).stdout


@SYSTEM_IN_LONG
def test_deploy_rollback_and_restart_fail_no_request(site: Site, manager: str) -> None:
    site.run("deploy")
    site.repository.commit("2")
    versions = under_load(
        site, lambda: site.run("deploy"), lambda: site.run("rollback"), lambda: site.run("restart")
    )
    assert versions == {"1", "2"}
    site.assert_only_serves("b")
    assert site.status()["runtime"]["kind"] == "systemd"
    shown = systemctl(manager, "cat", unit(site, manager, "shop_b"))
    assert "KillMode=mixed" in shown
    assert systemctl(manager, "show", "-P", "Slice", unit(site, manager, "haproxy")) in shown.replace(
        "Slice=", ""
    )


@pytest.mark.machine
@pytest.mark.parametrize(
    "name", [pytest.param("the build fails", marks=pytest.mark.long), "it exits at boot"]
)
def test_a_bad_version_leaves_the_old_one_serving(site: Site, name: str) -> None:
    site.run("deploy")
    phase, changes = BAD[name]
    site.repository.commit("bad", **changes)

    def fail() -> None:
        failed = site.events("deploy", exit_status=1)[-1]
        assert (failed["event"], failed["live"]) == ("failed", "a")
        # One that exits at boot may do so before anybody has seen it start.
        assert failed["phase"] in ({"start", "ready"} if phase == "ready" else {phase})
        assert phase != "ready" or "cannot find the database" in failed["reason"]

    assert under_load(site, fail) == {"1"}
    site.assert_only_serves("a")


@USERS_IN_LONG
def test_a_live_instance_that_is_killed_comes_back_and_the_next_requests_wait(
    site: Site, manager: str
) -> None:
    site.run("deploy")
    before = site.app()["slots"]["a"]["pid"]
    killed(before)
    assert under_load(site) == {"1"}
    site.assert_only_serves("a")
    assert systemctl(manager, "show", "-P", "NRestarts", unit(site, manager, "shop_a")) == "1\n"
    assert site.app()["slots"]["a"]["restarts"] == 1
    assert "crashed 1x" in site.run("status").stdout


@pytest.mark.machine(user=USER)
def test_a_command_with_the_environment_of_another_finds_the_same_systemd(site: Site, tmp_path: Path) -> None:
    """As after `su` and `sudo -u`, and in cron."""
    site.runtime = "auto"
    site.configure()
    site.run("deploy")
    kept = site.app()["slots"]["a"]["pid"]
    for environment in ({"XDG_RUNTIME_DIR": str(tmp_path)}, {"XDG_RUNTIME_DIR": ""}):
        with site.popen("up", env={**os.environ, **environment}) as command:
            out, err = command.communicate()
        assert command.returncode == 0, out + err
    assert not (site.root / "deploy" / "run" / "supervisord.conf").exists()
    assert site.app()["slots"]["a"]["pid"] == kept


@pytest.mark.machine
def test_a_root_whose_systemd_is_out_of_reach_is_left_alone(site: Site) -> None:
    """As in a container that has the root's directory, and not the machine's /run."""
    site.runtime = "auto"
    site.configure()
    site.run("deploy")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh"]
    told = subprocess.run([*hidden, *site.command("up")], capture_output=True, text=True, check=False)
    assert (told.returncode, "systemd runs the apps of this root directory" in told.stderr) == (2, True), (
        told.stderr
    )
    site.assert_only_serves("a")
    run_by_supervisord = site.root / "deploy" / "run" / "supervisord.conf"
    assert not run_by_supervisord.exists()

    site.run("down")
    site.runtime = "supervisord"
    site.configure()
    subprocess.run([*hidden, *site.command("up")], check=True)  # nothing runs: what is asked for is done
    assert run_by_supervisord.exists()


@pytest.mark.machine
def test_the_journal_knows_slot_and_deployment(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.run("restart")
    seen = {}
    asked = ["journalctl", "-o", "json", f"SUBSTITUTE_ROOT={site.root}", "_TRANSPORT=stdout"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines():
        entry = json.loads(line)
        if entry["SYSLOG_IDENTIFIER"].startswith("shop"):
            seen[entry["SUBSTITUTE_DEPLOYMENT"]] = (entry["SUBSTITUTE_SLOT"], entry["SYSLOG_IDENTIFIER"])
    assert seen == {"1": ("a", "shop_a"), "2": ("b", "shop_b"), "3": ("a", "shop_a")}


@USERS_IN_LONG
def test_logs_follow_across_a_switch(site: Site, manager: str) -> None:
    site.run("deploy")
    site.repository.commit("2")
    seen: list[str] = []
    with site.popen("logs", "-f", "--json") as following:
        reader = threading.Thread(target=lambda: seen.extend(following.stdout or ()))
        reader.start()
        eventually(lambda: any('"a"' in line for line in seen), "lines of slot a")
        site.run("deploy")
        eventually(lambda: any('"b"' in line for line in seen), "lines of slot b")
        following.send_signal(signal.SIGINT)
        reader.join()
    said = [json.loads(line) for line in seen]
    assert said[0]["slot"] == "a"
    shown = site.run("logs", "b", "--json").stdout.splitlines()
    assert json.loads(shown[0]) in said


@pytest.mark.machine
def test_an_app_runs_as_its_user_within_its_limits(site: Site) -> None:
    site.configure(
        start=f"id -un; echo home $HOME; ulimit -n; exec {sys.executable} -S -E app.py",
        more='user = "deployer"\n[app.shop.limits]\nmemory = "256M"\ntasks = 64\nnofile = 999\n',
    )
    for parent in [site.root, *site.root.parents]:
        parent.chmod(0o755)
    site.run("deploy")
    logged = site.run("logs", "a").stdout
    assert [line.split(" | ")[-1] for line in logged.splitlines()][:3] == [USER, f"home /home/{USER}", "999"]
    limited = systemctl(
        "--system", "show", "-P", "MemoryMax", "-P", "TasksMax", unit(site, "--system", "shop_a")
    )
    assert limited.split() == [str(256 << 20), "64"]
