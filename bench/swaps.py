"""Measures what clients notice of deployments at saturation, and what one costs; writes a table of docs/benchmarks.md.

    python -m bench.swaps [SWAPS]

wrk asks without a pause, GET and POST on 16 connections each, of the node app of `bench.front_door`. In turns, nobody
deploys for some seconds, and then one version after the other is deployed by the command that a user types. wrk never
repeats a request.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.front_door import APP
from bench.site import BenchSite
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- swaps: begin -->\n", "<!-- swaps: end -->\n"
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
            rest, during, busy = in_turns(site, [site.commit(str(number)) for number in range(swaps)])
        finally:
            site.close()
    lines = ["| | requests/s | failed | median | p99 |", "|---|---|---|---|---|"]
    for when, turns in (("at rest", rest), (f"during {swaps} deployments", during)):
        for number, method in enumerate(METHODS):
            lines.append(Seen.of([seen[number] for seen in turns]).row(f"{method}, {when}"))
    note = (
        f"\nThe command of one deployment, with all that it runs, takes {statistics.median(busy):.2f} s of processor\n"
        f"time then; without load {statistics.median(alone):.2f} s. {os.cpu_count()} cores, which the app, HAProxy,\n"
        f"the command and wrk share. Latencies are medians of {TURNS} turns. `python -m bench.swaps {swaps}`.\n"
    )
    table = "\n".join(lines) + "\n"
    print(table + note)  # noqa: T201
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table}{note}{END}{after.partition(END)[2]}")


def in_turns(
    site: BenchSite, commits: Sequence[str]
) -> tuple[list[list[Seen]], list[list[Seen]], list[float]]:
    """What was seen while nobody deployed and while `commits` were; and the processor seconds of each command."""
    rest, during = [], []
    costs: list[float] = []

    def deploy(some: Sequence[str]) -> None:
        costs.extend(deployment(site, commit) for commit in some)

    for turn in range(TURNS):
        rest.append(loaded(site, partial(time.sleep, AT_REST)))
        during.append(loaded(site, partial(deploy, commits[turn::TURNS])))
    return rest, during, costs


def deployment(site: BenchSite, commit: str) -> float:
    """Deploy `commit`; return the processor seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    site.run("deploy", commit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
