"""Measures what clients notice of deployments at saturation, and what one costs; writes a table of docs/benchmarks.md.

    python -m bench.swaps [SWAPS]

wrk asks without a pause, GET and POST on 16 connections each, of the node app of `bench.front_door`. In turns, nobody
deploys for some seconds, and then one version after the other is deployed by the command that a user types. wrk never
repeats a request. With KAMAL_PROXY=PROGRAM in the environment the same is done with kamal-proxy: the app is started on
another port, `kamal-proxy deploy` leads the requests there, and the app before gets SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import pages
from bench.front_door import APP, KamalProxy, running
from bench.processes import children
from bench.site import BenchSite, free_port
from substitute.core.model.slots import Endpoint
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONNECTIONS, LONGEST, TURNS, AT_REST = 16, 1200, 3, 5
METHODS = ("GET", "POST")
SCRIPT = """
wrk.method = "%s"
if wrk.method == "POST" then wrk.body = ("x"):rep(512) end
function done(summary, latency)
    local failed = 0
    for _, number in pairs(summary.errors) do failed = failed + number end
    print(string.format('{"requests": %%d, "failed": %%d, "seconds": %%f, "median": %%f, "p99": %%f}',
        summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


@dataclass(frozen=True)
class Seen:
    """What one wrk saw. Times are seconds."""

    requests: int
    failed: int
    seconds: float
    median: float
    p99: float

    @classmethod
    def of(cls, turns: Sequence[Seen]) -> Seen:
        """All of them together; of the latencies the median."""
        requests, failed = (sum(getattr(one, name) for one in turns) for name in ("requests", "failed"))
        seconds = sum(one.seconds for one in turns)
        median, p99 = (statistics.median(getattr(one, name) for one in turns) for name in ("median", "p99"))
        return cls(requests, failed, seconds, median, p99)

    def row(self, name: str) -> str:
        """Of the table."""
        cells = (
            f"{self.requests / self.seconds:,.0f}",
            f"**0** of {self.requests:,}" if not self.failed else f"{self.failed} of {self.requests:,}",
            f"{1000 * self.median:.1f} ms",
            f"{1000 * self.p99:.0f} ms",
        )
        return f"| {name} | {' | '.join(cells)} |"


def main(swaps: int) -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place:
        app = Path(place) / "app.js"
        app.write_text(APP.replace("process.argv[1]", "process.env.PORT"))
        site = BenchSite(Path(place), app, start=f"node {app.name}")
        try:
            site.run("deploy")
            alone = [deployment(site, site.commit(f"alone {number}")) for number in range(5)]
            commits = iter([site.commit(str(number)) for number in range(swaps)])
            url = f"http://127.0.0.1:{site.listen}/"
            found = in_turns(url, Path(place), lambda: deployment(site, next(commits)), swaps)
        finally:
            site.close()
        lines = ["| | requests/s | failed | median | p99 |", "|---|---|---|---|---|", *found.rows(swaps)]
        if program := os.environ.get("KAMAL_PROXY"):
            lines += kamals(program, Path(place), app, swaps).rows(swaps, "kamal-proxy, ")
    how = (
        "The command of one deployment, with all that it runs, takes "
        f"{statistics.median(found.costs):.2f} s of processor time then; without load\n"
        f"{statistics.median(alone):.2f} s. The app, the front, the command and wrk share the processors. "
        f"Latencies are medians of {TURNS} turns."
    )
    table, note = "\n".join(lines) + "\n", pages.measured(how, f"swaps {swaps}")
    pages.write("benchmarks.md", table + note, mark="swaps")


@dataclass(frozen=True)
class Found:
    """What was seen at rest and during deployments, in turns; and the processor seconds of each deployment."""

    rest: list[list[Seen]]
    during: list[list[Seen]]
    costs: list[float]

    def rows(self, swaps: int, who: str = "") -> list[str]:
        """Of the table."""
        return [
            Seen.of([seen[number] for seen in turns]).row(f"{who}{method}, {when}")
            for when, turns in (("at rest", self.rest), (f"during {swaps} deployments", self.during))
            for number, method in enumerate(METHODS)
        ]


def in_turns(url: str, place: Path, deploy: Callable[[], float], swaps: int) -> Found:
    """Call `deploy` so often under load, with times between in which nobody does. It returns its processor seconds."""
    found = Found([], [], [])

    def deploy_some(number: int) -> None:
        found.costs.extend(deploy() for _ in range(number))

    for turn in range(TURNS):
        found.rest.append(loaded_at(url, place, partial(time.sleep, AT_REST)))
        number = len(range(turn, swaps, TURNS))
        found.during.append(loaded_at(url, place, partial(deploy_some, number)))
    return found


def kamals(program: str, place: Path, app: Path, swaps: int) -> Found:
    """The same with kamal-proxy in front, and a node that is started beside the one before."""
    proxy, live = KamalProxy(program, place), ExitStack()
    with proxy.running(), ExitStack() as everything:

        def deploy() -> float:
            nonlocal live
            endpoint = Endpoint("127.0.0.1", free_port())
            before, used = live, children()
            live = everything.enter_context(ExitStack())
            live.enter_context(running(["node", str(app)], endpoint, PORT=str(endpoint.port)))
            proxy.deploy(endpoint)
            took = children() - used
            before.close()
            return took

        deploy()
        return in_turns(f"http://{proxy.listen}/", place, deploy, swaps)


def deployment(site: BenchSite, commit: str) -> float:
    """Deploy `commit`; return the processor seconds of the command."""
    before = children()
    site.run("deploy", commit)
    return children() - before


def loaded(site: BenchSite, act: Callable[[], object]) -> list[Seen]:
    """Do `act` under load; return what became of the requests, for each of `METHODS`."""
    return loaded_at(f"http://127.0.0.1:{site.listen}/", site.root.parent, act)


def loaded_at(url: str, place: Path, act: Callable[[], object]) -> list[Seen]:
    """The same at any address; `place` gets the scripts of wrk."""
    running = []
    for method in METHODS:
        script = place / f"{method}.lua"
        script.write_text(SCRIPT % method)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LONGEST}s", "--timeout=60s", f"-s{script}"]
        command.append(url)
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        time.sleep(1)
        act()
    finally:
        for one in running:
            one.send_signal(signal.SIGINT)
    said = [one.communicate()[0].splitlines()[-1] for one in running]
    return [Seen(**json.loads(line)) for line in said]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
