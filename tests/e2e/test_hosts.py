"""Several real machines over the real ssh: set up, deployed, locked, asked."""

from __future__ import annotations

import hashlib
import json
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fleets import Fleet
from tests.e2e.rollouts import CRON, FAILS_SOMEWHERE, HOME, RELEASE, old_and_new
from tests.machines import USER

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_setup_makes_a_root_and_leaves_alone_what_is_there(machines: Fleet) -> None:
    said = machines.document("hosts", "setup", "--on", "web1")["web1"]["host"]
    assert (said["substitute"], said["substitute.toml"]) == ("present", "the same")
    assert "systemd" in said["boot"]
    before = (machines.root / "substitute.toml").read_text()
    (machines.root / "substitute.toml").write_text(before + "# changed\n")
    assert {one["host"]["substitute.toml"] for one in machines.document("hosts").values()} == {"another one"}
    warned = machines.run("deploy", "--on", "web1").stdout
    assert "warning: The substitute.toml on web1 is not the one here." in warned
    machines.run("hosts", "setup", "--on", "web1")
    kept = machines.machines["web1"].run("cat", f"{HOME}/shop/substitute.toml.before").stdout
    assert kept == before
    (machines.root / "substitute.toml").write_text(before)
    machines.run("hosts", "setup", "--on", "web1")


def test_a_failure_ends_the_rollout_and_resume_goes_on(fleet: Fleet) -> None:
    fleet.reconfigure(f"{RELEASE}\n{CRON}")
    old, new = old_and_new(fleet, FAILS_SOMEWHERE)
    fleet.machines["web2"].run("touch", f"{HOME}/broken")
    failed = fleet.run("deploy", "--hosts", "web", "--batch", "1", exit_status=1)
    table = {line.split()[0]: line.split()[1:] for line in failed.stdout.splitlines()[-3:]}
    assert (table["web1"][0], table["web1"][2]) == ("succeeded", new[:10])
    assert table["web2"][0] == "failed"
    assert table["web3"][:2] == ["not", "begun"]
    assert "deploy --resume" in failed.stderr
    assert fleet.live() == {"web1": new, "web2": old, "web3": old}

    fleet.commit("later")  # the branch has moved on since
    fleet.machines["web2"].run("rm", f"{HOME}/broken")
    events = fleet.events("deploy", "--hosts", "web", "--resume", "--batch", "1")
    assert {one["host"]: one["state"] for one in events[-1]["hosts"]} == {
        "web1": "unchanged",
        "web2": "succeeded",
        "web3": "succeeded",
    }
    assert set(fleet.live().values()) == {new}
    released = {
        name: machine.run("cat", f"{HOME}/released", check=False).stdout.split()
        for name, machine in fleet.machines.items()
    }
    assert released == {"web1": [new], "web2": [], "web3": []}
    fleet.run("rollback", "--hosts", "all")
    assert set(fleet.live().values()) == {old}


@pytest.mark.long
def test_after_a_rollout_that_was_stopped_all_go_back_to_the_same(fleet: Fleet) -> None:
    old, new = old_and_new(fleet, FAILS_SOMEWHERE)
    fleet.machines["web3"].run("touch", f"{HOME}/broken")
    fleet.run("deploy", "--hosts", "all", exit_status=1)
    assert fleet.live() == {"web1": new, "web2": new, "web3": old}
    fleet.run("rollback", "--hosts", "all")
    assert set(fleet.live().values()) == {old}


def test_who_cannot_be_asked_is_named_and_nothing_begins(fleet: Fleet) -> None:
    old, new = old_and_new(fleet, "true\n")
    fleet.machines["web2"].run("systemctl", "stop", "ssh.service", "ssh.socket", check=False)
    fleet.signal_relays("web2", signal.SIGKILL)
    try:
        assert fleet.live(exit_status=1) == {"web1": old, "web2": None, "web3": old}
        assert (
            fleet.document("status", "--hosts", "all", exit_status=1)["web2"]["error"]["kind"]
            == "unreachable"
        )
        events = fleet.events("deploy", "--hosts", "all", exit_status=1)
        assert [one["state"] for one in events[-1]["hosts"]] == ["not begun", "unreachable", "not begun"]
        fleet.run("deploy", "--hosts", "all", "--without", "web2")
        assert fleet.live(exit_status=1) == {"web1": new, "web2": None, "web3": new}
    finally:
        fleet.machines["web2"].run("systemctl", "start", "ssh.service")


def test_a_host_without_substitute_is_told_what_installs_it(fleet: Fleet) -> None:
    link = "/usr/local/bin/substitute"
    fleet.machines["web1"].run("mv", link, f"{link}.away")
    try:
        error = fleet.document("status", "--on", "web1", exit_status=1)["web1"]["error"]
        assert error["kind"] == "not installed"
        assert "hosts setup --on web1" in error["cure"]
    finally:
        fleet.machines["web1"].run("mv", f"{link}.away", link)


def test_all_go_down_and_come_up_again(fleet: Fleet) -> None:
    old, _ = old_and_new(fleet, "true\n")
    ended = fleet.events("down", "--hosts", "all")[-1]
    assert {one["host"]: one["state"] for one in ended["hosts"]} == dict.fromkeys(fleet.names, "succeeded")
    states = [
        one["status"]["apps"][0]["slots"]["a"]["state"]
        for one in fleet.document("status", "--hosts", "all").values()
    ]
    assert "live" not in states
    fleet.run("up", "--hosts", "all")
    assert set(fleet.live().values()) == {old}


def test_hosts_can_be_locked_and_a_rollout_then_begins_nowhere(fleet: Fleet) -> None:
    fleet.run("lock", "no deploys on Friday", "--on", "web2")
    try:
        refused = fleet.run("deploy", "--hosts", "all", exit_status=3)
        assert "no deploys on Friday" in refused.stderr
        assert "`deploy` has begun on no host." in refused.stderr
    finally:
        fleet.run("unlock", "--hosts", "all")
    fleet.run("deploy", "--on", "web2")


def test_a_host_is_reached_through_a_jump_host_of_the_users_own_configuration(fleet: Fleet) -> None:
    text = (fleet.root / "substitute.toml").read_text()
    (fleet.root / "substitute.toml").write_text(
        text.replace("[hosts]\n", f'[hosts]\nfar = ["{USER}@behind"]\n')
    )
    try:
        found = fleet.document("status", "--hosts", "far")
        assert found["behind"]["answered"]
        fleet.machines["web1"].run("touch", f"{HOME}/broken")  # so it is web1 where that is found
        assert fleet.run("run", "--hosts", "far", "--", "ls", f"{HOME}/broken").stdout == f"{HOME}/broken\n"
    finally:
        (fleet.root / "substitute.toml").write_text(text)


@pytest.mark.long
def test_an_archive_is_brought_to_every_host(tmp_path: Path) -> None:
    with Fleet(2) as fleet:
        fleet.configure(source='source = "archive"')
        fleet.run("hosts", "setup")
        archive = tmp_path / "shop.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(
                fleet.repository.directory,
                arcname=".",
                filter=lambda one: None if ".git" in one.name else one,
            )
        fleet.run("deploy", str(archive), "--hosts", "all")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert fleet.live() == {"web1": digest, "web2": digest}
        left = fleet.machines["web1"].run("ls", f"{HOME}/shop/deploy/run").stdout
        assert "shop.tar" not in left


def test_logs_and_history_name_the_host(fleet: Fleet) -> None:
    lines = [json.loads(line) for line in fleet.run("logs", "--hosts", "all", "--json").stdout.splitlines()]
    assert {line["host"] for line in lines if "line" in line} == set(fleet.names)
    assert {line["slot"] for line in lines if "line" in line} <= {"a", "b"}
    assert "web2 | " in fleet.run("logs", "--on", "web2").stdout
    assert "next deploy to" in fleet.run("status", "--on", "web2").stdout
    past = fleet.document("history", "--hosts", "all", "-n", "1")
    assert {len(one["history"]["deployments"]) for one in past.values()} == {1}
