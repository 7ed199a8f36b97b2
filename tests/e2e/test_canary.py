"""Clients come to a new version step by step; one that is worse is stopped, whoever looks or dies."""

from __future__ import annotations

import signal
import threading
import urllib.error
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.site import APP, Site, fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = APP.read_text().replace(
    '"HTTP/1.1 200 OK\\r\\nX-Version',
    "\"HTTP/1.1 {'500' if path == '/search' else '200'} Said\\r\\nX-Version",
)
"""Its health check does not see that a page fails."""
STEADY = APP.read_text().replace(
    'if path == "/slow"', 'if path == "/":\n        await asyncio.sleep(0.05)\n    if path == "/slow"'
)
"""It takes so long that a busy processor makes little difference."""


def canary(site: Site, *steps: str) -> None:
    site.configure(more=f"[app.shop.canary]\nsteps = {list(steps)}\n")


@contextmanager
def searching(site: Site) -> Iterator[list[int]]:
    """Somebody searches all the time; the statuses that he gets."""
    seen: list[int] = []
    over = threading.Event()

    def search() -> None:
        while not over.is_set():
            try:
                fetch(site.url + "search")
                seen.append(200)
            except urllib.error.HTTPError as error:
                seen.append(error.code)
            except OSError:
                seen.append(0)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_one_that_is_as_good_becomes_live_and_no_request_fails(site: Site) -> None:
    site.repository.commit("1", app=STEADY)
    site.run("deploy")
    canary(site, "20% 1s", "50% 1s")
    site.repository.commit("2", app=STEADY)
    told: list[str] = []
    assert under_load(site, lambda: told.append(site.run("deploy").stdout)) == {"1", "2"}
    assert "Compared with the live version: " in told[0]
    (newest, *_) = site.document("history")["deployments"]
    assert newest["outcome"] == "succeeded"
    assert newest["verdict"]["candidate"]["requests"] > 0
    assert newest["verdict"]["end"] != "worse"
    site.assert_only_serves("b")


def test_where_there_are_no_clients_requests_are_sent_besides(site: Site) -> None:
    site.run("deploy")
    site.configure(
        more='[app.shop.canary]\nsteps = ["50% 2s"]\nsynthetic = "75/s"\n[app.shop.health]\nwarm = ["/about"]\n'
    )
    site.repository.commit("2")
    site.run("deploy")
    (newest, *_) = site.document("history")["deployments"]
    assert newest["verdict"]["candidate"]["requests"] > 20
    assert newest["verdict"]["live"]["requests"] > 20


def test_one_whose_pages_fail_is_stopped_and_few_have_met_it(site: Site) -> None:
    site.run("deploy")
    canary(site, "20% 1m")
    site.repository.commit("2", app=BROKEN)
    with searching(site) as seen:
        refused = site.run("deploy", exit_status=1).stderr
        assert "worse: " in refused
        assert "still serves" in refused
        site.assert_only_serves("a")
    assert set(seen) == {200, 500}, "nothing else failed"
    assert seen.count(500) < len(seen) / 2
    (newest, *_) = site.document("history")["deployments"]
    assert newest["verdict"]["end"] == "worse"
    assert newest["verdict"]["candidate"]["failures"] >= newest["verdict"]["live"]["failures"]


def test_a_worker_that_ends_again_and_again_is_named_and_the_version_becomes_live(site: Site) -> None:
    site.run("deploy")
    queue = '[app.shop.process.queue]\nstart = "sleep 2"\n'
    site.configure(more=f'[app.shop.canary]\nsteps = ["20% 20s"]\n{queue}')
    site.repository.commit("2")
    told = site.run("deploy")
    warning = "Queue 1 of slot b has ended 3 times within a minute. See `substitute logs b_queue_1`."
    assert warning in told.stdout + told.stderr
    assert warning in site.document("history")["deployments"][0]["reason"]
    site.assert_only_serves("b")


def test_ctrl_c_and_a_killed_deployer_end_it(site: Site) -> None:
    site.run("deploy")
    canary(site, "20% 10m")
    for version, number in (("2", signal.SIGINT), ("3", signal.SIGKILL)):
        site.repository.commit(version)

        def end(number: signal.Signals = number) -> None:
            with site.popen("deploy") as process:
                eventually(lambda: compared(site)["requests"], "it has met clients")
                process.send_signal(number)
            eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "the candidate is stopped")

        assert "1" in under_load(site, end)
        site.assert_only_serves("a")
        assert compared(site)["requests"], "what was seen of it until then is in its history"


def compared(site: Site) -> dict[str, int]:
    """What the newest deployment's candidate has answered, as far as it is known."""
    found: dict[str, int] = (site.document("history")["deployments"][0]["verdict"] or {}).get(
        "candidate", {"requests": 0}
    )
    return found
