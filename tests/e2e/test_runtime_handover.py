"""From one runtime to the other on a real systemd, with requests flowing. Not one may fail."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from substitute.linux.processes import is_alive
from substitute.runtimes.supervisord.runtime import Supervisord
from substitute.runtimes.systemd.runtime import Systemd
from tests.e2e.site import Site
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

KINDS = ["supervisord", "systemd"]
BACK_IN_LONG = pytest.param(*KINDS[::-1], marks=pytest.mark.long)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for kind in KINDS:
        run_by(made, kind)
        made.close()


def run_by(site: Site, kind: str, *, more: str = "") -> None:
    site.runtime = kind
    site.configure(more=more)


def kept_by(site: Site, kind: str) -> set[str]:
    if kind == "systemd":
        return Systemd(site.root, user=os.geteuid() != 0).kept()
    return Supervisord(site.root / "deploy" / "run").kept()


@contextmanager
def followed(site: Site) -> Iterator[list[str]]:
    """What `logs -f` prints."""
    seen: list[str] = []
    with site.popen("logs", "-f", "--json") as following:
        reader = threading.Thread(target=lambda: seen.extend(following.stdout or ()))
        reader.start()
        try:
            eventually(lambda: any('"a"' in line for line in seen), "what is there already")
            yield seen
        finally:
            following.send_signal(signal.SIGINT)
            reader.join()


@pytest.mark.machine
@pytest.mark.parametrize(("before", "after"), [KINDS, pytest.param(*KINDS[::-1], marks=pytest.mark.slow)])
def test_a_root_changes_its_runtime_with_its_next_deployment(site: Site, before: str, after: str) -> None:
    cron = '[app.shop.cron.digest]\nat = "@yearly"\ncommand = "true"\n'
    run_by(site, before, more=cron)
    site.run("deploy")
    assert kept_by(site, before) == {"shop_a", "haproxy", "scheduler"}
    site.repository.commit("2")
    with followed(site) as seen:
        run_by(site, after, more=cron)
        assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
        eventually(lambda: any('"b"' in line for line in seen), "what the later one writes is followed")
    assert site.status()["runtime"]["kind"] == after
    site.assert_only_serves("b")
    assert (kept_by(site, before), kept_by(site, after)) == (set(), {"shop_b", "haproxy", "scheduler"})
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}


@pytest.mark.machine
@pytest.mark.parametrize(("before", "after"), [KINDS, BACK_IN_LONG])
def test_a_client_that_keeps_its_connection_keeps_the_earlier_balancer_which_ends_with_it_or_with_down(
    site: Site, before: str, after: str
) -> None:
    run_by(site, before)
    site.run("deploy")
    kept, left = (HTTPConnection("127.0.0.1", site.port) for _ in range(2))
    assert (asked(kept), asked(left)) == ("1", "1")
    run_by(site, after)
    site.repository.commit("2")
    site.run("deploy")
    assert asked(kept) == "2"
    site.run("rollback")
    assert kept_by(site, after) == {"shop_a", "haproxy"}
    site.run("down")
    assert [site.pids(), kept_by(site, before), kept_by(site, after)] == [set()] * 3
    left.close()
    site.run("up")
    site.assert_only_serves("a")


def asked(connection: HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode().split()[1]


@pytest.mark.machine
@pytest.mark.parametrize(("before", "after"), [KINDS, BACK_IN_LONG])
def test_a_deployment_that_fails_leaves_everything_with_the_earlier_one(
    site: Site, before: str, after: str
) -> None:
    run_by(site, before)
    site.run("deploy")
    run_by(site, after)
    site.repository.commit("2", app="raise SystemExit('cannot find the database')\n")
    assert under_load(site, lambda: site.run("deploy", exit_status=1)) == {"1"}
    site.assert_only_serves("a")
    assert kept_by(site, before) == {"shop_a", "haproxy"}


@pytest.mark.machine
def test_an_instance_that_a_dead_supervisord_had_started_again_is_known_to_systemd_after_it(
    site: Site,
) -> None:
    run_by(site, "supervisord")
    site.run("deploy")
    runtime = Supervisord(site.root / "deploy" / "run")
    before = runtime.inspect("shop_a").process
    assert before
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: runtime.inspect("shop_a").process not in {None, before}, "it is started again")
    runtime.abandon()
    run_by(site, "systemd")
    eventually(lambda: site.app()["slots"]["a"]["state"] == "live", "it is found")
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")


@pytest.mark.machine
def test_auto_is_systemd_here(site: Site) -> None:
    run_by(site, "auto")
    site.run("deploy")
    assert site.status()["runtime"]["kind"] == "systemd"
    assert kept_by(site, "systemd") == {"shop_a", "haproxy"}


@pytest.mark.machine
def test_the_guardian_outlives_what_the_deployer_ran_in(site: Site) -> None:
    run_by(site, "systemd")
    site.run("deploy")
    site.repository.commit("2", build="touch building; sleep 600\n")
    job = ["systemd-run", "--quiet", "--unit=ci-job", "--property=KillSignal=SIGKILL", "--collect"]
    path = f"--setenv=PATH={os.environ['PATH']}"
    subprocess.run([*job, path, *site.command("deploy")], check=True)
    eventually((site.root / "shop_b" / "building").exists, "the build runs")
    subprocess.run(["systemctl", "stop", "ci-job"], check=True)
    eventually(lambda: site.app()["deployment"] is None, "the guardian settled")
    site.assert_only_serves("a")


def test_a_balancer_whose_supervisord_died_is_succeeded_by_one_that_is_kept(site: Site) -> None:
    run_by(site, "supervisord")
    site.run("deploy")
    runtime = Supervisord(site.root / "deploy" / "run")
    before = runtime.inspect("haproxy").process
    runtime.abandon()
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")
    now = runtime.inspect("haproxy").process
    assert before
    assert now
    assert not is_alive(before)
    os.kill(now.pid, signal.SIGKILL)
    eventually(lambda: runtime.inspect("haproxy").process not in {None, now}, "it is started again")
