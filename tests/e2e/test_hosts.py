"""Several real machines over the real ssh: deployed, stopped in the middle, cut off, without power."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fleets import Fleet
from tests.machines import USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = f"/home/{USER}"
RELEASE = f'release = ["echo $SUBSTITUTE_COMMIT >>{HOME}/released"]'
WAITS = f"touch {HOME}/begun; while [ ! -e {HOME}/go ]; do sleep 0.05; done\n"
"""A build that waits until it may go on."""
FAILS_SOMEWHERE = f"test ! -e {HOME}/broken\n"


@pytest.fixture(scope="module")
def machines() -> Iterator[Fleet]:
    with Fleet(3) as made:
        configure(made)
        made.run("hosts", "setup")
        yield made


def configure(fleet: Fleet, *, more: str = "", answer_timeout: str = "20s") -> None:
    limits = f'answer_timeout = "{answer_timeout}"\nlost_timeout = "60s"'
    fleet.configure(more=more, more_of_hosts=limits)


@pytest.fixture
def fleet(machines: Fleet) -> Fleet:
    """With a version that is live everywhere: that of the test before, where it left one."""
    if len(live := set(machines.live().values())) > 1 or None in live:
        machines.commit("old")
        machines.run("deploy", "--hosts", "all")
    for machine in machines.machines.values():
        machine.run("rm", "-f", *(f"{HOME}/{name}" for name in ("begun", "go", "broken", "released")))
    return machines


def begun(fleet: Fleet, *names: str) -> None:
    for name in names:
        fleet.waits_at(name, f"{HOME}/begun")


def go_on(fleet: Fleet, *names: str) -> None:
    for name in names:
        fleet.machines[name].run("touch", f"{HOME}/go")


def under_way(fleet: Fleet) -> list[str | None]:
    """The commit that is being deployed on each host."""
    answers = fleet.document("status", "--hosts", "all").values()
    found = [one["status"]["apps"][0]["deployment"] for one in answers]
    return [one and one["commit"] for one in found]


def come_to_their_end(fleet: Fleet) -> None:
    """Return when nothing is being deployed on any host; where that lasts, what runs there is shown."""
    try:
        eventually(lambda: not any(under_way(fleet)), "each host has come to its end")
    except AssertionError as error:
        for name, machine in fleet.machines.items():
            error.add_note(
                f"{name}:\n{machine.run('ps', '-eo', 'pid,ppid,ni,stat,wchan:20,etimes,args').stdout}"
            )
        raise


def old_and_new(fleet: Fleet, build: str) -> tuple[str, str]:
    """The commit that is live everywhere, and a new one."""
    (old,) = set(fleet.live().values())
    assert old
    return old, fleet.commit("next", build=build)


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
    configure(fleet, more=RELEASE)
    fleet.run("hosts", "setup")
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
    configure(fleet)
    fleet.run("hosts", "setup")


@pytest.mark.long
def test_after_a_rollout_that_was_stopped_all_go_back_to_the_same(fleet: Fleet) -> None:
    old, new = old_and_new(fleet, FAILS_SOMEWHERE)
    fleet.machines["web3"].run("touch", f"{HOME}/broken")
    fleet.run("deploy", "--hosts", "all", exit_status=1)
    assert fleet.live() == {"web1": new, "web2": new, "web3": old}
    fleet.run("rollback", "--hosts", "all")
    assert set(fleet.live().values()) == {old}


def test_a_deployment_goes_on_where_its_connection_is_lost(fleet: Fleet) -> None:
    _, new = old_and_new(fleet, WAITS)
    with fleet.begun("deploy", "--hosts", "all", "--json") as driver:
        begun(fleet, *fleet.names)
        fleet.signal_relays("web2", signal.SIGKILL)
        eventually(lambda: fleet.relays("web2"), "it asks again")
        go_on(fleet, *fleet.names)
        out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    events = [json.loads(line) for line in out.splitlines()]
    assert [one["host"] for one in events if one["event"] == "lost"] == ["web2"]
    assert {one["state"] for one in events[-1]["hosts"]} == {"succeeded"}
    assert set(fleet.live().values()) == {new}


@pytest.mark.long
def test_a_connection_that_dies_without_a_word_is_noticed_and_the_host_asked_by_another(fleet: Fleet) -> None:
    _, new = old_and_new(fleet, WAITS)
    with fleet.begun("deploy", "--hosts", "all", "--json") as driver:
        begun(fleet, *fleet.names)
        silent = fleet.relays("web3")
        fleet.signal_relays("web3", signal.SIGSTOP)
        go_on(fleet, *fleet.names)
        out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    events = [json.loads(line) for line in out.splitlines()]
    assert [one["host"] for one in events if one["event"] == "lost"] == ["web3"]
    assert {one["state"] for one in events[-1]["hosts"]} == {"succeeded"}
    assert set(fleet.live().values()) == {new}
    for pid in set(silent) & set(fleet.relays("web3")):
        os.kill(pid, signal.SIGKILL)


def test_ctrl_c_ends_it_on_every_host_and_the_old_version_serves(fleet: Fleet) -> None:
    old, _ = old_and_new(fleet, WAITS)
    with fleet.begun("deploy", "--hosts", "all", "--batch", "2", "--json") as driver:
        begun(fleet, "web1", "web2")
        driver.send_signal(signal.SIGINT)
        out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, out + err
    last = json.loads(out.splitlines()[-1])
    assert [one["state"] for one in last["hosts"]] == ["interrupted", "interrupted", "not begun"]
    assert set(fleet.live().values()) == {old}
    assert not any(
        one["status"]["apps"][0]["deployment"] for one in fleet.document("status", "--hosts", "all").values()
    )


def test_what_runs_on_the_hosts_does_not_need_who_has_started_it(fleet: Fleet) -> None:
    _, new = old_and_new(fleet, WAITS)
    with fleet.begun("deploy", "--hosts", "all") as driver:
        begun(fleet, *fleet.names)
        driver.kill()
        driver.communicate()
    for name in fleet.names:
        fleet.signal_relays(name, signal.SIGKILL)
    assert set(under_way(fleet)) == {new}
    go_on(fleet, *fleet.names)
    come_to_their_end(fleet)
    last = {
        name: one["history"] for name, one in fleet.document("history", "--hosts", "all", "-n", "1").items()
    }
    assert set(fleet.live().values()) == {new}, json.dumps(last, indent=1)


@pytest.mark.long
def test_a_host_that_loses_its_power_settles_by_itself(fleet: Fleet) -> None:
    old, new = old_and_new(fleet, WAITS)
    with fleet.begun("deploy", "--hosts", "all", "--json") as driver:
        begun(fleet, *fleet.names)
        fleet.machines["web3"].reboot()
        go_on(fleet, "web1", "web2")
        out, err = driver.communicate(timeout=150)
    assert driver.returncode == 1, out + err
    hosts = {one["host"]: one for one in json.loads(out.splitlines()[-1])["hosts"]}
    assert [hosts[name]["state"] for name in ("web1", "web2")] == ["succeeded", "succeeded"]
    assert hosts["web3"]["state"] == "interrupted"
    eventually(lambda: fleet.live() == {"web1": new, "web2": new, "web3": old}, "it serves the old version")
    go_on(fleet, "web3")
    events = fleet.events("deploy", "--hosts", "all", "--resume")
    assert [one["state"] for one in events[-1]["hosts"]] == ["unchanged", "unchanged", "succeeded"]


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


@pytest.mark.long
def test_one_that_is_cut_off_without_a_word_is_told_apart(fleet: Fleet) -> None:
    configure(fleet, answer_timeout="10s")
    fleet.document("status", "--on", "web3")  # there is a connection, which is kept
    fleet.signal_relays("web3", signal.SIGSTOP)
    try:
        found = fleet.document("status", "--hosts", "all", exit_status=1)
        assert [one["answered"] for one in found.values()] == [True, True, False]
        assert found["web3"]["error"]["kind"] == "silent"
    finally:
        fleet.signal_relays("web3", signal.SIGKILL)
        configure(fleet)


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
    fleet.run("deploy", "--hosts", "all")


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


@pytest.mark.long
def test_who_follows_logs_leaves_nothing_behind_on_the_hosts(fleet: Fleet) -> None:
    def following() -> bool:
        found = fleet.machines["web1"].run("pgrep", "-u", USER, "-f", "obey -- logs", check=False)
        return bool(found.stdout.strip())

    with fleet.begun("logs", "--on", "web1", "-f") as driver:
        eventually(following, "it follows")
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=60)
    eventually(lambda: not following(), "nobody follows any more")
    with fleet.begun("logs", "--on", "web1", "-f") as driver:
        eventually(following, "it follows")
        driver.kill()
        driver.communicate(timeout=60)
    fleet.signal_relays("web1", signal.SIGKILL)
    eventually(lambda: not following(), "nobody follows for somebody who is gone")
