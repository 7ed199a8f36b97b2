"""A candidate is held, looked at through the front door, and promoted or aborted; no request fails."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.site import Site, fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machines import Machine


@pytest.fixture(
    params=["supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.long])]
)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param
    made.run("deploy")
    made.repository.commit("2")
    yield made
    made.close()


def held(site: Site) -> dict[str, Any] | None:
    found: dict[str, Any] | None = site.app()["held"]
    return found


def outcomes(site: Site) -> list[tuple[str, str]]:
    found = site.document("history")["deployments"]
    return [(one["operation"], one["outcome"]) for one in found]


def test_who_has_the_link_sees_it_and_a_promotion_fails_no_request(site: Site) -> None:
    def hold_and_promote() -> None:
        told = site.run("deploy", "--hold").stdout
        found = held(site)
        assert found
        (link,) = found["links"]
        assert link in told
        assert urlsplit(link).port == urlsplit(site.url).port
        assert fetch(site.url) == "version 1\n"
        assert fetch(site.url, X_Substitute_Preview=found["token"]) == "version 2\n"
        assert fetch(link) == "version 2\n"
        assert site.app()["slots"]["b"]["state"] == "held"
        pid = site.app()["slots"]["b"]["pid"]
        site.run("promote")
        assert site.app()["slots"]["b"]["pid"] == pid, "nothing was started"
        assert fetch(site.url, X_Substitute_Preview=found["token"]) == "version 2\n"

    assert under_load(site, hold_and_promote) == {"1", "2"}
    site.assert_only_serves("b")
    assert held(site) is None
    assert outcomes(site)[:2] == [("promote", "succeeded"), ("deploy", "promoted")]
    site.run("rollback")
    assert fetch(site.url) == "version 1\n"


def test_what_is_aborted_is_stopped_and_nothing_else(site: Site) -> None:
    site.run("deploy", "--hold", "10m")
    assert "held" in site.run("check", exit_status=2).stderr
    site.run("abort")
    site.assert_only_serves("a")
    assert outcomes(site)[0] == ("deploy", "aborted")
    for command in ("abort", "promote"):
        assert "No version of shop is held" in site.run(command, exit_status=2).stderr


def test_at_its_time_it_is_aborted_with_nobody_typing(site: Site) -> None:
    site.run("deploy", "--hold", "1s")
    eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "its time is over")
    site.assert_only_serves("a")
    assert outcomes(site)[0] == ("deploy", "aborted")


def test_one_that_crashed_is_not_promoted_though_it_was_started_again_and_answers(site: Site) -> None:
    site.run("deploy", "--hold")
    token = (held(site) or {})["token"]
    pid = site.app()["slots"]["b"]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: site.app()["slots"]["b"]["pid"] not in {None, pid}, "it is started again")
    eventually(lambda: fetch(site.url, X_Substitute_Preview=token) == "version 2\n", "it answers again")
    failed = site.run("promote", exit_status=1).stderr
    assert "Slot b has crashed while it was held, and was started again" in failed
    assert "Slot a (" in failed
    site.assert_only_serves("a")
    assert outcomes(site)[:2] == [("promote", "failed"), ("deploy", "aborted")]
    assert "No version of shop is held" in site.run("promote", exit_status=2).stderr


def test_one_that_hangs_is_not_promoted_and_the_next_deployment_takes_its_place(site: Site) -> None:
    site.configure(more='[app.shop.stop]\ntimeout = "1s"\n')
    site.run("deploy", "--hold")
    os.kill(site.app()["slots"]["b"]["pid"], signal.SIGSTOP)
    assert "does not answer any more" in site.run("promote", exit_status=1).stderr
    site.assert_only_serves("a")
    site.run("deploy", "--hold")
    site.repository.commit("3")
    assert "is held, and is needed now" in site.run("deploy").stdout
    assert fetch(site.url) == "version 3\n"


@pytest.mark.long
def test_a_reboot_aborts_it(machine: Machine) -> None:
    def holding() -> Site:
        site = Site(Path("/srv/hold"))
        site.runtime = "systemd"
        site.configure()
        site.run("deploy")
        site.repository.commit("2")
        site.run("deploy", "--hold")
        site.run("install")
        return site

    site = machine.call(holding)
    machine.reboot()
    machine.call(lambda: eventually(lambda: serves(site), "it answers again"))
    machine.call(lambda: site.assert_only_serves("a"))
    machine.call(lambda: eventually(lambda: held(site) is None, "it is not held"))
    machine.call(lambda: site.run("uninstall"))
    machine.call(site.close)


def serves(site: Site) -> bool:
    try:
        return fetch(site.url) == "version 1\n"
    except OSError:
        return False


def test_its_workers_start_when_it_is_promoted(site: Site) -> None:
    program = "import signal; signal.sigwait({signal.SIGTERM})"
    site.configure(more=f"[app.shop.process.worker]\nstart = '{sys.executable} -c \"{program}\"'\n")
    site.run("deploy")
    site.repository.commit("3")

    def workers() -> list[str]:
        slots = site.app()["slots"]
        found = [(name, one) for name in slots for one in slots[name]["instances"]]
        return [name for name, one in found if one["process"] == "worker" and one["pid"]]

    site.run("deploy", "--hold")
    assert workers() == ["b"]
    site.run("promote")
    assert workers() == ["a"]
