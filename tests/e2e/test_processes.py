"""An app of several processes: web instances side by side, and workers that go from one version to the next."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.state.lock import holder_of
from substitute.demo.load import Load
from substitute.linux.processes import identify, is_alive
from tests.e2e.runtimes import BOTH, SYSTEMD_IN_LONG
from tests.e2e.site import Site, fetch, killed
from tests.e2e.traffic import ENOUGH, PAUSE, under_load
from tests.ports import free_ports
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKER = """
import os, signal, sys, time
told = []
on_quit = os.environ["SUBSTITUTE_PROCESS"] == "queue"
signal.signal(signal.SIGQUIT if on_quit else signal.SIGTERM, lambda *_: told.append(1))
version = open("version.txt").read().strip()
def write(what):
    with open(os.environ["JOBS"], "a") as jobs:
        jobs.write(f"{os.environ['SUBSTITUTE_PROCESS']} {version} {what}\\n")
if version == "broken":
    sys.exit("cannot reach the queue")
write("begins")
while not told:
    write("takes a job")
    time.sleep(0.2)
    write("has done a job")
while os.environ["SUBSTITUTE_PROCESS"] == "queue" and os.path.exists(os.environ["JOBS"] + ".long"):
    time.sleep(0.05)
write("ends")
"""


@pytest.fixture(params=BOTH)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param
    made.ports = (free_ports(2), free_ports(2))
    (made.repository.directory / "worker.py").write_text(WORKER)
    made.repository.commit("1")
    several(made)
    yield made
    made.close()


def several(site: Site, *, instances: int = 2, queue: str = "", clock: str = "") -> None:
    """Two web instances, a queue's worker that may run twice for a moment, and a clock that may not.

    The queue's is ready when a command says so, and finishes its job on a signal of its own.
    """
    start = f'start = "{sys.executable} -S -E worker.py"'
    clock = f"[app.shop.process.clock]\n{start}\n{clock}\n"
    site.configure(
        more=f'instances = {instances}\nenv = {{ JOBS = "{site.root / "jobs"}" }}\n'
        f'[app.shop.process.queue]\n{start}\norder = "start-first"\n{queue}\n'
        "[app.shop.process.queue.health]\ncommand = 'grep -q \"^queue $(cat version.txt) begins\" $JOBS'\n"
        f'[app.shop.process.queue.stop]\nsignal = "SIGQUIT"\n{clock}'
    )


def did(site: Site, process: str) -> list[str]:
    """When which version of `process` began and ended."""
    lines = (site.root / "jobs").read_text().splitlines()
    kept = [line.removeprefix(f"{process} ") for line in lines if line.startswith(f"{process} ")]
    return [line for line in kept if "job" not in line]


def jobs(site: Site, what: str) -> int:
    return (site.root / "jobs").read_text().count(what)


def instances(site: Site, slot: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in site.app()["slots"][slot]["instances"]}


@SYSTEMD_IN_LONG
def test_all_instances_serve_and_no_worker_that_must_not_runs_twice(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    seen = under_load(site, lambda: site.run("deploy"), lambda: site.run("rollback"))
    assert seen == {"1", "2"}
    site.assert_only_serves("a")
    names = {f"shop_a_{one}" for one in ("web_1", "web_2", "queue_1", "clock_1")}
    running = instances(site, "a")
    assert set(running) == names
    assert all(one["pid"] for one in running.values())
    assert [running[f"shop_a_web_{n}"]["port"] for n in (1, 2)] == [site.ports[0], site.ports[0] + 1]
    assert did(site, "clock") == ["1 begins", "1 ends", "2 begins", "2 ends", "1 begins"]
    assert did(site, "queue")[:3] == ["1 begins", "2 begins", "1 ends"]
    assert jobs(site, "takes a job") - jobs(site, "has done a job") <= 2  # those that are under way now
    site.run("down")
    assert did(site, "clock")[-1] == "1 ends"
    assert jobs(site, "takes a job") == jobs(site, "has done a job")


@SYSTEMD_IN_LONG
def test_a_worker_that_does_not_run_fails_the_deployment_and_the_old_ones_go_on(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("broken")

    def fail() -> None:
        failed = site.events("deploy", exit_status=1)[-1]
        assert (failed["event"], failed["phase"], failed["live"]) == ("failed", "workers", "a")
        assert "cannot reach the queue" in failed["reason"]

    assert "1" in under_load(site, fail)
    site.assert_only_serves("a")
    eventually(lambda: did(site, "clock")[-1] == "1 begins", "the old clock runs again")
    assert [name for name, one in instances(site, "a").items() if not one["pid"]] == []


@SYSTEMD_IN_LONG
def test_a_worker_may_finish_its_job_behind_the_deployment(site: Site) -> None:
    several(site, queue="background = true")
    site.run("deploy")
    site.repository.commit("2")
    long_job = site.root / "jobs.long"
    long_job.touch()
    several(site, queue="background = true", clock="instances = 0")
    told = site.run("deploy").stdout
    assert "Queue 1 of slot a finishes its job behind this command" in told
    assert "1 ends" not in did(site, "queue")
    assert fetch(site.url) == "version 2\n"
    long_job.unlink()
    eventually(lambda: site.app()["slots"]["a"]["state"] == "idle", "the guardian has stopped it")
    assert did(site, "queue")[:3] == ["1 begins", "2 begins", "1 ends"]
    site.assert_only_serves("b")


@SYSTEMD_IN_LONG
def test_a_rollback_does_not_wait_for_the_job_of_a_worker_and_has_it_run_again_behind_it(site: Site) -> None:
    standby = '[app.shop.standby]\nkeep = "10m"'
    several(site, queue="background = true", clock=f"instances = 0\n{standby}")
    site.run("deploy")
    site.repository.commit("2")
    long_job = site.root / "jobs.long"
    long_job.touch()
    working = identify(instances(site, "a")["shop_a_queue_1"]["pid"])
    assert working
    site.run("deploy")
    lock = site.root / "deploy" / "run" / "shop.lock"
    eventually(
        lambda: (holder := holder_of(lock)) and "The workers of slot a have" in holder.doing,
        "the guardian waits for the job",
    )
    assert site.app()["rollback"]["kind"] == "instant"
    told = site.run("rollback").stdout
    assert is_alive(working), "its job is not cut, and nobody has waited for it"
    assert "Queue 1 of slot a finishes its job, and is started again behind this command" in told
    assert fetch(site.url) == "version 1\n"
    long_job.unlink()
    eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "the guardian has stopped what was left")
    pid = instances(site, "a")["shop_a_queue_1"]["pid"]
    assert pid not in {None, working.pid}
    assert did(site, "queue")[-1] == "1 begins"


@SYSTEMD_IN_LONG
def test_a_web_instance_that_crashes_leaves_the_requests_to_the_others(site: Site) -> None:
    site.run("deploy")
    pid = instances(site, "a")["shop_a_web_1"]["pid"]
    with Load(site.url, connections=2, pause=PAUSE) as load:
        load.wait_for(ENOUGH)
        killed(pid)
        load.wait_for(ENOUGH)
        assert load.stop().failures == []
    eventually(lambda: instances(site, "a")["shop_a_web_1"]["pid"] not in {None, pid}, "it is started again")
    assert fetch(site.url) == "version 1\n"


def test_a_worker_that_crashes_is_started_again_and_that_is_told(site: Site) -> None:
    site.run("deploy")
    for _ in range(2):
        pid = instances(site, "a")["shop_a_clock_1"]["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: instances(site, "a")["shop_a_clock_1"]["pid"] not in {None, pid}, "it is back")  # noqa: B023
    assert instances(site, "a")["shop_a_clock_1"]["restarts"] == 2
    assert "crashed 2x" in site.run("status").stdout
    site.run("up")
    site.run("logs", "a_clock_1")


@SYSTEMD_IN_LONG
def test_the_number_of_instances_changes_with_the_next_deployment(site: Site) -> None:
    site.run("deploy")
    several(site, instances=1)
    site.run("restart")
    assert set(instances(site, "b")) == {"shop_b", "shop_b_queue_1", "shop_b_clock_1"}
    several(site)
    assert under_load(site, lambda: site.run("restart")) == {"1"}
    assert {"shop_a_web_1", "shop_a_web_2"} < set(instances(site, "a"))
