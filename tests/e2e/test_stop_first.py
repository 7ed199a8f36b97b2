"""An app that cannot run twice: it never does, and requests wait in HAProxy while one version follows the other."""

from __future__ import annotations

import json
import threading
import urllib.error
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import APP, Site, fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALONE = """\
import fcntl, os, sys, time
_lock = open(os.environ["LOCK"], "w")
try:
    fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(os.environ["LOCK"] + ".twice", "a").write("twice")
    sys.exit(1)
"""
"""What an app does at its boot of which no two may run: the kernel gives up the lock with its last process."""


class Lonely(Site):
    """A root with an app that takes an exclusive lock, and notes that somebody else had it."""

    def configure(self, *, more: str = "", start: str = "", balancer: str = "", hold: str = "30s") -> None:
        lock = json.dumps(str(self.root / "lock"))
        alone = f'order = "stop-first"\nhold = "{hold}"\nenv = {{ LOCK = {lock} }}\n'
        super().configure(more=alone + more, start=start, balancer=balancer)

    def commit(self, version: str, *, then: str = "") -> None:
        """A version of it, which does `then` when it has the lock."""
        self.repository.commit(version, app=_ALONE + then + "\n" + APP.read_text())

    def assert_never_twice(self) -> None:
        assert not (self.root / "lock.twice").exists()


@pytest.fixture(
    scope="module",
    params=["supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.long])],
)
def kept(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lonely]:
    """All tests have one root: its first deployment costs as much as a test."""
    made = Lonely(tmp_path_factory.mktemp("lonely"))
    made.runtime = request.param
    made.configure()
    made.commit("1")
    made.run("deploy")
    yield made
    made.close()


@pytest.fixture
def site(kept: Lonely) -> Iterator[Lonely]:
    """Version 1 is live."""
    if fetch(kept.url) != "version 1\n":
        kept.commit("1")
        kept.run("deploy")
    yield kept
    kept.assert_only_serves()
    kept.assert_never_twice()


def test_it_is_deployed_and_rolled_back_without_a_failed_request_and_never_runs_twice(site: Lonely) -> None:
    site.commit("2")
    told = []
    versions = under_load(
        site, lambda: told.append(site.run("deploy").stdout), lambda: told.append(site.run("rollback").stdout)
    )
    assert versions == {"1", "2"}
    assert all("Requests to shop waited in the balancer for" in out for out in told)


def test_the_earlier_version_is_back_where_the_new_one_crashes_and_no_request_failed(site: Lonely) -> None:
    site.commit("2", then="sys.exit(3)")
    told = []
    versions = under_load(site, lambda: told.append(site.run("deploy", exit_status=1)))
    assert versions == {"1"}
    (failed,) = told
    assert "Requests to shop waited in the balancer for" in failed.stdout
    assert "still serves" in failed.stderr


@pytest.mark.parametrize(
    "phase", ["start", *(pytest.param(one, marks=pytest.mark.long) for one in ("switch", "ready", "admit"))]
)
def test_the_deployer_is_killed_while_requests_wait_and_none_fails(site: Lonely, phase: str) -> None:
    """Its guardian settles: the earlier version is back, or the new one is live."""
    site.commit("2")

    def deploy() -> None:
        with site.popen("deploy", "--json") as deployer:
            assert deployer.stdout
            for line in deployer.stdout:
                event = json.loads(line)
                if event["event"] == "phase_started" and event["phase"] == phase:
                    deployer.kill()
        eventually(lambda: site.app()["deployment"] is None, "its guardian has settled")

    assert under_load(site, deploy) <= {"1", "2"}
    site.assert_only_serves()


@pytest.mark.long
def test_who_has_waited_for_too_long_is_told_when_to_come_back(site: Lonely) -> None:
    site.configure(hold="400ms")
    site.run("restart")
    go_on = site.root / "go on"
    site.commit("2", then=f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)")
    deployer = threading.Thread(target=lambda: site.run("deploy"))
    deployer.start()
    page: list[urllib.error.HTTPError] = []

    def is_told() -> bool:
        try:
            fetch(site.url)
        except urllib.error.HTTPError as error:
            page.append(error)
        return bool(page)

    eventually(is_told, "nobody serves")
    go_on.touch()
    deployer.join()
    assert page[0].code == 503
    assert int(page[0].headers["Retry-After"]) > 0
    assert "not available now" in page[0].read().decode()
    assert fetch(site.url).strip() == "version 2"
    site.configure()
    site.run("restart")


@pytest.mark.long
def test_nothing_runs_beside_it_by_hand_either(site: Lonely) -> None:
    site.run("restart")
    told = site.run("check", exit_status=2).stderr
    assert "A check would run a second version of shop beside the live one" in told
    slot = "a" if site.app()["live"] == "b" else "b"
    start = ("start", f"shop_{slot}", str(site.root / f"shop_{slot}"), str(site.ports["ab".index(slot)]))
    assert "would run beside the live version" in site.run(*start, exit_status=2).stderr
