"""The version before runs on without requests: a rollback to it starts nothing, and fails no request."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.model.programs import Process
from substitute.linux.processes import identify, is_alive
from tests.e2e.runtimes import BOTH, IN_LONG
from tests.e2e.site import Site, fetch
from tests.e2e.traffic import under_load
from tests.machines import USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machines import Machine

WORKER = "import signal, sys; signal.sigwait({signal.SIGTERM})"
USERS = pytest.param("systemd of a user", marks=[pytest.mark.machine(user=USER), pytest.mark.long])
SYSTEMD_IN_LONG = pytest.mark.parametrize("site", [*IN_LONG, USERS], indirect=True)


@pytest.fixture(params=(*BOTH, USERS))
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param.split()[0]
    stands_by(made)
    made.run("deploy")
    made.repository.commit("2")
    made.run("deploy")
    yield made
    made.close()


def stands_by(site: Site, keep: str = "10m", *, more: str = "") -> None:
    site.configure(more=f'[app.shop.standby]\nkeep = "{keep}"\n{more}')


def slot(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.app()["slots"][name]
    return found


def is_idle(site: Site, name: str) -> bool:
    return str(slot(site, name)["state"]) == "idle"


def test_a_rollback_to_it_starts_nothing_and_fails_no_request(site: Site) -> None:
    before = slot(site, "a")
    assert before["state"] == "standby"
    assert site.app()["rollback"]["kind"] == "instant"
    versions = under_load(site, lambda: site.run("rollback"))
    assert versions == {"1", "2"}
    after = slot(site, "a")
    assert (after["state"], after["pid"]) == ("live", before["pid"])
    eventually(lambda: is_idle(site, "b"), "what was left is stopped behind the command")
    site.assert_only_serves("a")


@SYSTEMD_IN_LONG
def test_the_next_deployment_takes_its_slot_and_fails_no_request(site: Site) -> None:
    site.repository.commit("3")
    assert under_load(site, lambda: site.run("deploy")) == {"2", "3"}
    assert (slot(site, "a")["state"], slot(site, "b")["state"]) == ("live", "standby")
    site.run("rollback")
    assert fetch(site.url).strip() == "version 2"


@SYSTEMD_IN_LONG
def test_it_ends_when_somebody_says_so_and_a_rollback_starts_it_again(site: Site) -> None:
    pid = slot(site, "a")["pid"]
    site.run("standby", "end")
    site.assert_only_serves("b")
    assert site.app()["rollback"]["kind"] == "cold"
    site.run("rollback")
    assert slot(site, "a")["pid"] != pid
    assert "Nothing of shop stands by" in site.run("standby", "end").stdout


@SYSTEMD_IN_LONG
def test_it_ends_at_its_time_with_nobody_typing(site: Site) -> None:
    stands_by(site, "1s")
    site.repository.commit("3")
    site.run("deploy")
    eventually(lambda: is_idle(site, "b"), "its time is over")
    site.assert_only_serves("a")


@SYSTEMD_IN_LONG
def test_one_that_hangs_is_started_again(site: Site) -> None:
    """It answers no more, so it is no standby."""
    stands_by(site, more='[app.shop.stop]\ntimeout = "1s"\n')
    process = identify(slot(site, "a")["pid"])
    assert process
    stat = Path(f"/proc/{process.pid}/stat")
    os.kill(process.pid, signal.SIGSTOP)
    eventually(lambda: stat.read_text().split()[2] == "T", "it hangs")
    assert site.app()["rollback"]["kind"] == "cold"
    site.run("rollback")
    assert fetch(site.url).strip() == "version 1"
    assert not is_alive(process)


@SYSTEMD_IN_LONG
def test_after_down_nothing_comes_back_when_its_time_is_over(site: Site) -> None:
    stands_by(site, "2s")
    site.repository.commit("3")
    site.run("deploy")
    ends = time.time() + 2
    site.run("down")
    eventually(lambda: time.time() > ends and not site.pids(), "its guardian has looked, and gone")
    assert is_idle(site, "a")
    assert is_idle(site, "b")


@SYSTEMD_IN_LONG
def test_down_ends_what_sleeps_until_its_time_is_over(site: Site) -> None:
    note = site.root / "deploy" / "run" / "shop.asleep"
    eventually(note.exists, "its guardian sleeps")
    asleep = Process(*json.loads(note.read_text()))
    assert is_alive(asleep)
    site.run("down")
    eventually(lambda: not is_alive(asleep), "it does not outlive what it looked after")
    assert not note.exists()


@SYSTEMD_IN_LONG
def test_up_has_somebody_end_it_at_its_time_where_nobody_sleeps_any_more(site: Site) -> None:
    stands_by(site, "5s")
    site.repository.commit("3")
    site.run("deploy")
    note = site.root / "deploy" / "run" / "shop.asleep"
    eventually(note.exists, "its guardian sleeps")
    asleep = Process(*json.loads(note.read_text()))
    os.kill(asleep.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(asleep), "it was killed")
    site.run("up")
    eventually(lambda: is_idle(site, "b"), "its time is over")
    site.assert_only_serves("a")


@SYSTEMD_IN_LONG
def test_one_of_another_boot_is_ended_though_it_runs(site: Site) -> None:
    """As where an engine of containers starts all again that it kept."""
    assert slot(site, "a")["state"] == "standby"
    with closing(sqlite3.connect(site.root / "deploy" / "journal.db")) as journal, journal:
        changed = journal.execute("UPDATE fact SET value = 'another' WHERE name = 'boot:shop'")
        assert changed.rowcount == 1
    site.run("up")
    site.assert_only_serves("b")


@SYSTEMD_IN_LONG
def test_its_workers_are_stopped_and_come_back_in_its_rollback(site: Site) -> None:
    command = f'{sys.executable} -c "{WORKER}"'
    worker = f"[app.shop.process.worker]\nstart = '{command}'\norder = \"start-first\"\n"
    stands_by(site, more=worker)
    for version in ("3", "4"):
        site.repository.commit(version)
        site.run("deploy")

    def workers() -> dict[str, int]:
        found = site.app()["slots"]
        return {
            name: len([one for one in found[name]["instances"] if one["process"] == "worker" and one["pid"]])
            for name in found
        }

    assert workers() == {"a": 0, "b": 1} or workers() == {"a": 1, "b": 0}
    live = site.app()["live"]
    site.run("rollback")
    eventually(lambda: is_idle(site, live), "what was left is stopped behind the command")
    other = "a" if live == "b" else "b"
    assert workers() == {live: 0, other: 1}


@pytest.mark.machine(unified=True)
def test_one_that_is_frozen_is_thawed_before_it_is_asked(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.runtime = "systemd"
    stands_by(site, more="freeze = true\n")
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")

    def frozen(name: str) -> bool:
        groups = Path(f"/proc/{slot(site, name)['pid']}/cgroup").read_text().splitlines()
        group = groups[-1].removeprefix("0::")
        return "frozen 1" in Path(f"/sys/fs/cgroup{group}/cgroup.events").read_text()

    assert frozen("a")
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
    assert not frozen("a")
    site.repository.commit("3")
    site.run("deploy")
    assert frozen("a")
    site.run("standby", "end")
    site.assert_only_serves("b")
    site.close()


def test_a_reboot_ends_it(machine: Machine) -> None:
    def standing_by() -> Site:
        site = Site(Path("/srv/standby"))
        site.runtime = "systemd"
        stands_by(site)
        for version in ("2", "3"):
            site.repository.commit(version)
            site.run("deploy")
        assert slot(site, "a")["state"] == "standby"
        site.run("install")
        return site

    site = machine.call(standing_by)
    machine.reboot()
    machine.call(lambda: eventually(lambda: serves(site), "it answers again"))
    machine.call(lambda: site.assert_only_serves("b"))
    machine.call(lambda: site.run("uninstall"))
    machine.call(site.close)


def serves(site: Site) -> bool:
    try:
        return fetch(site.url) == "version 3\n"
    except OSError:
        return False
