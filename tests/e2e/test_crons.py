"""Crons by the real scheduler, kept by each runtime: killed, and across switches.

A scheduler that starts finds what is due in this very minute, so `make test` waits for none. `make test-long` lets one
live through a real minute.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from substitute.linux.processes import identify
from tests.e2e.runtimes import BOTH
from tests.e2e.site import Site, killed
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = (
    "echo $SUBSTITUTE_CRON of $(cat version.txt) begins >>$JOBS; echo its output; "
    "while [ ! -e $JOBS.finish ]; do sleep 0.05; done; echo ends >>$JOBS; exit 3"
)
STUCK = "trap '' TERM; echo stuck; sleep 300 & sleep 300; sleep 300"


@pytest.fixture(params=BOTH)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param
    configure(made)
    yield made
    (made.root / "jobs.finish").touch()
    made.close()


def configure(site: Site, *, crons: bool = True) -> None:
    text = f'env = {{ JOBS = "{site.root}/jobs" }}\n'
    if crons:
        text += f'[app.shop.cron.job]\nat = "* * * * *"\ncommand = {json.dumps(JOB)}\n'
        text += f'[app.shop.cron.stuck]\nat = "@yearly"\ncommand = {json.dumps(STUCK)}\ntimeout = "2s"\n'
    site.configure(more=text)


def scheduler(site: Site) -> int | None:
    pid: int | None = json.loads(site.run("cron", "--json").stdout)["scheduler"]["pid"]
    return pid


def history(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.run("history", "--cron", "--json").stdout)["runs"]
    return found


def told(site: Site, name: str) -> dict[str, Any]:
    return next(one for one in history(site) if one["name"] == name)


def kill_scheduler(site: Site) -> None:
    pid = scheduler(site)
    assert pid
    killed(pid)
    eventually(lambda: scheduler(site) not in {None, pid}, "the scheduler runs again")


def make_it_live_for_long(site: Site) -> None:
    """Have the journal say so: then this very minute was due, and its scheduler finds that when it starts."""
    written(site, "UPDATE deployment SET committed = committed - 120")


def make_its_run_begin_earlier(site: Site) -> None:
    """Have the journal say that what runs was due a minute ago: then this very minute is due again."""
    written(site, "DELETE FROM run WHERE outcome = 'missed'", "UPDATE run SET due = due - 60")


def written(site: Site, *statements: str) -> None:
    with sqlite3.connect(site.root / "deploy" / "journal.db", timeout=30) as journal:
        for statement in statements:
            journal.execute(statement)
    journal.close()


def test_a_cron_outlives_its_scheduler_and_its_version_and_is_never_run_beside_itself(site: Site) -> None:
    site.run("deploy")
    make_it_live_for_long(site)
    kill_scheduler(site)
    jobs = site.root / "jobs"
    eventually(lambda: jobs.exists() and "job of 1 begins" in jobs.read_text(), "it runs")
    (run,) = site.app()["runs"]
    process = identify(run["pid"])
    assert (run["cron"], run["slot"]) == ("job", "a")
    assert process

    kill_scheduler(site)
    site.repository.commit("2")
    site.run("deploy")
    refused = site.run("deploy", "--force", exit_status=3)
    assert "A command still runs in slot a, which is needed." in refused.stderr
    assert "run-" in refused.stderr
    refused = site.run("cron", "run", "job", exit_status=3)
    assert "cron job of shop runs already." in refused.stderr
    assert identify(run["pid"]) == process
    make_its_run_begin_earlier(site)
    kill_scheduler(site)
    eventually(lambda: "skipped" in [one["outcome"] for one in history(site)], "the next is skipped")
    assert "skipped at " in site.run("logs", "cron-job").stdout
    assert jobs.read_text().count("begins") == 1

    site.run("cron", "pause", "job")
    (site.root / "jobs.finish").touch()
    eventually(lambda: told(site, run["name"])["outcome"], "its end is noted")
    assert (told(site, run["name"])["outcome"], told(site, run["name"])["status"]) == ("failed", 3)
    assert (jobs.read_text().splitlines()) == ["job of 1 begins", "ends"]
    said = site.run("logs", "cron-job").stdout
    assert "its output" in said
    assert "cron job of shop failed with exit status 3." in said

    shown = site.run("cron", "run", "job", exit_status=3).stdout
    assert "its output" in shown
    assert jobs.read_text().splitlines()[-2:] == ["job of 2 begins", "ends"]
    site.run("cron", "run", "stuck", exit_status=137)
    assert (history(site)[0]["cron"], history(site)[0]["outcome"]) == ("stuck", "timed out")
    listed = {one["name"]: one for one in json.loads(site.run("cron", "--json").stdout)["crons"]}
    assert (listed["job"]["next"], listed["stuck"]["last"]["status"]) == (None, 137)
    assert "paused" in site.run("cron").stdout

    configure(site, crons=False)
    site.run("restart")
    assert scheduler(site) is None
    assert "The live version has no crons." in site.run("cron").stdout


@pytest.mark.long
def test_a_scheduler_looks_again_when_a_minute_is_over(site: Site) -> None:
    site.run("deploy")
    jobs = site.root / "jobs"
    eventually(jobs.exists, "it runs", patience=90.0)
    before = scheduler(site)
    eventually(lambda: len(history(site)) > 1, "the next is due", patience=90.0)
    assert scheduler(site) == before
