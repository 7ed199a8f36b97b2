"""Measures whole commands with each runtime on a real systemd; writes a table of docs/benchmarks.md.

python -m bench.runtimes [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.machines import Machine

from bench import pages
from bench.site import BenchSite
from bench.speed import APP, Speed, measure

HEAD = (
    "| runtime | a deployment adds | a rollback adds | `status` | `python -c pass` | resident |\n"
    "|---|---|---|---|---|---|\n"
)


def main(rounds: int) -> None:
    """Measure, print and write."""
    with Machine() as machine:
        found = {kind: machine.call(partial(inside, kind, rounds)) for kind in ("supervisord", "systemd")}
    table = HEAD + "".join(row(kind, speed) for kind, speed in found.items())
    how = f"Medians of {rounds}; times: of Python's own start. The rest is the app's own boot."
    note = pages.measured(how, f"runtimes {rounds}")
    pages.write("benchmarks.md", table + note, mark="runtimes")


def inside(kind: str, rounds: int) -> Speed:
    """What is done in the machine."""
    site = BenchSite(Path(tempfile.mkdtemp(dir="/srv")), APP, runtime=kind)
    try:
        return measure(site, rounds)
    finally:
        site.close()


def row(kind: str, speed: Speed) -> str:
    """One line of the table."""
    times = (speed.added(speed.deploy), speed.added(speed.rollback), speed.median(speed.status))
    bare = speed.median(speed.bare)
    cells = [f"{seconds * 1000:.0f} ms, {seconds / bare:.1f} times" for seconds in times]
    cells.append(f"{bare * 1000:.1f} ms")
    return f"| {kind} | {' | '.join(cells)} | {speed.resident / 1e6:.0f} MB |\n"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
