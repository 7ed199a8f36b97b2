"""Several real machines over the real ssh: a connection, the driver, the power, or somebody's patience ends."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.e2e.fleets import Fleet
from tests.e2e.rollouts import (
    CRON,
    HOME,
    LIMITS,
    WAITS,
    begun,
    come_to_their_end,
    go_on,
    old_and_new,
    under_way,
)
from tests.machines import USER
from tests.waiting import eventually

pytestmark = pytest.mark.slow


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


@pytest.mark.long
def test_one_that_is_cut_off_without_a_word_is_told_apart(fleet: Fleet) -> None:
    fleet.configure(more=CRON, more_of_hosts=LIMITS.replace("20s", "10s"))
    fleet.document("status", "--on", "web3")  # there is a connection, which is kept
    fleet.signal_relays("web3", signal.SIGSTOP)
    try:
        found = fleet.document("status", "--hosts", "all", exit_status=1)
        assert [one["answered"] for one in found.values()] == [True, True, False]
        assert found["web3"]["error"]["kind"] == "silent"
    finally:
        fleet.signal_relays("web3", signal.SIGKILL)
        fleet.configure(more=CRON, more_of_hosts=LIMITS)


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


@pytest.mark.long
def test_a_file_that_is_cut_off_or_finds_no_room_is_not_there_at_all() -> None:
    def left(name: str) -> set[str]:
        return set(fleet.machines[name].run("ls", "-A", f"{HOME}/shop").stdout.split())

    with Fleet(2) as fleet:
        fleet.configure(more='env_file = "big.env"')
        with (fleet.root / "big.env").open("wb") as file:
            file.truncate(256 << 20)
        fleet.machines["web1"].run("mkdir", f"{HOME}/shop")
        fleet.machines["web1"].run("mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", f"{HOME}/shop")
        with fleet.begun("hosts", "setup") as driver:
            fleet.waits_at("web2", f"{HOME}/shop/big.env.new")
            fleet.signal_relays("web2", signal.SIGKILL)
            out, err = driver.communicate(timeout=120)
        assert driver.returncode == 1, out + err
        assert "No space left on device" in out + err
        assert left("web1") == {"substitute.toml"}
        eventually(lambda: "big.env.new" not in left("web2"), "nobody brings it any more")
        assert left("web2") == {"substitute.toml"}
        fleet.machines["web1"].run("umount", f"{HOME}/shop")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_of_twenty_hosts_those_that_are_cut_off_are_asked_again_and_one_without_power_settles() -> None:
    with Fleet(20) as fleet:
        fleet.configure(more_of_hosts='answer_timeout = "2m"\nlost_timeout = "2m"')
        fleet.run("hosts", "setup", patience=400)
        fleet.run("deploy", "--hosts", "all", patience=400)
        old, new = old_and_new(fleet, WAITS)
        cut_off, dead = fleet.names[4:9], fleet.names[-1]
        with fleet.begun("deploy", "--hosts", "all", "--json") as driver:
            begun(fleet, *fleet.names)
            for name in cut_off:
                fleet.signal_relays(name, signal.SIGKILL)
            fleet.machines[dead].power_off()
            fleet.signal_relays(dead, signal.SIGKILL)
            fleet.machines[dead].power_on()
            go_on(fleet, *fleet.names[:-1])
            out, err = driver.communicate(timeout=400)
        events = [json.loads(line) for line in out.splitlines()]
        assert driver.returncode == 1, out + err
        assert {one["host"] for one in events if one["event"] == "lost"} == {*cut_off, dead}
        states = {one["host"]: one["state"] for one in events[-1]["hosts"]}
        assert states == {**dict.fromkeys(fleet.names, "succeeded"), dead: "interrupted"}
        expected = {**dict.fromkeys(fleet.names, new), dead: old}
        eventually(lambda: fleet.live() == expected, "it serves the old version")
        go_on(fleet, dead)
        fleet.run("deploy", "--hosts", "all", "--resume")
        assert set(fleet.live().values()) == {new}
