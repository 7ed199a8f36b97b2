"""Measures what clients notice of a build that uses every processor; writes a table of docs/benchmarks.md.

    python -m bench.builds [ROUNDS [SECONDS]]

On a machine with a real systemd, with each runtime, in turns of SECONDS each: no build; a build that is limited in
nothing; a build with the defaults of `build_limits`. The build always fails in the end, so that nothing is switched.
In life the clients are on other machines: here, where they may, they run before everything else.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.machines import Machine

from bench import pages
from bench.site import BenchSite
from bench.speed import APP
from substitute.demo.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD = "| runtime | no build: p50, p99 | a build without limits | with the defaults |\n|---|---|---|---|\n"
BURNING = (
    "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass\n"
)
UNLIMITED = "[app.bench.build_limits]\nnice = 0\ncpu_weight = 100\nio_weight = 100\n"
CONNECTIONS, SETTLE = 4, 0.5

Latencies = tuple[float, float]
"""The median and the 99th percentile, in seconds."""


def main(rounds: int, seconds: float) -> None:
    """Measure, print and write."""
    with Machine() as machine:
        found = {
            kind: machine.call(partial(inside, kind, rounds, seconds)) for kind in ("supervisord", "systemd")
        }
    rows = "".join(
        f"| {kind} | {' | '.join(map(told, (by['none'], by['unlimited'], by['limited'])))} |\n"
        for kind, by in found.items()
    )
    note = (
        f"\nMedians of {rounds} turns of {seconds:g} s each, two build processes a core, {os.cpu_count()} cores, "
        f"{CONNECTIONS} clients without a pause. `python -m bench.builds {rounds} {seconds:g}`.\n"
    )
    pages.write("benchmarks.md", HEAD + rows + note, mark="builds")


def told(latencies: Latencies) -> str:
    """A cell of the table."""
    return ", ".join(f"{1000 * one:.1f} ms" for one in latencies)


def inside(kind: str, rounds: int, seconds: float) -> dict[str, Latencies]:
    """What is done in the machine: the medians of all rounds, by what is built."""
    move_in()
    place = Path(tempfile.mkdtemp(dir="/srv"))
    site = BenchSite(place, APP, runtime=kind)
    configuration = site.root / "substitute.toml"
    usual = configuration.read_text()
    (place / "burn.py").write_text(BURNING)
    burn = f"{sys.executable} -S -E {place}/burn.py {seconds + 4 * SETTLE}"
    building = json.dumps([f"for _ in $(seq $((2 * $(nproc)))); do {burn} & done; wait; exit 1"])
    found: dict[str, list[Latencies]] = {"none": [], "unlimited": [], "limited": []}
    try:
        site.run("deploy")
        for _ in range(rounds):
            for what, measured in found.items():
                more = UNLIMITED if what == "unlimited" else ""
                configuration.write_text(f"{usual}build = {building}\n{more}")
                with build(site) if what != "none" else nullcontext():
                    measured.append(latencies(f"http://127.0.0.1:{site.listen}/", seconds))
    finally:
        configuration.write_text(usual)
        site.close()
    return {
        what: (statistics.median(p50 for p50, _ in measured), statistics.median(p99 for _, p99 in measured))
        for what, measured in found.items()
    }


def move_in() -> None:
    """Come under the machine's own control groups: who logs in is started there, and not outside."""
    for group in Path("/sys/fs/cgroup").glob("*/cgroup.procs"):
        with suppress(OSError):
            group.write_text("0")


@contextmanager
def build(site: BenchSite) -> Iterator[None]:
    """Entered while a build runs."""
    with site.popen("deploy", "--json") as deployer:
        output: Iterable[str] = deployer.stdout or ()
        for line in output:
            if '"build"' in line:
                break
        reader = threading.Thread(target=list, args=[output])
        reader.start()
        time.sleep(SETTLE)
        yield
        if deployer.poll() is not None:
            raise SystemExit("The build has ended too early.")
        reader.join()


def latencies(url: str, seconds: float) -> Latencies:
    """Ask for so long."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        with Load(url, connections=CONNECTIONS) as load:
            time.sleep(seconds)
            report = load.stop()
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if report.failures:
        raise SystemExit(str(report.failures[:3]))
    return report.percentile(50), report.percentile(99)


if __name__ == "__main__":
    given = [*sys.argv[1:], *("5", "6")[len(sys.argv) - 1 :]]
    main(int(given[0]), float(given[1]))
