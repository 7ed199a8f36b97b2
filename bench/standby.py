"""Measures a rollback to a version that stands by, with each runtime; writes a table of docs/benchmarks.md.

    python -m bench.standby [ROUNDS]

At rest, and at saturation: wrk asks without a pause, GET and POST on 16 connections each, and never repeats a request.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.machines import Machine

from bench import pages
from bench.front_door import APP
from bench.site import BenchSite
from bench.swaps import Seen, loaded
from substitute.values import dataclass

HEAD = (
    "| runtime | the command, at rest | times bare Python | the switch | under load | failed GET | failed POST |\n"
    "|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Found:
    """Seconds of each rollback, of its phase *admit*, and of ``python -c pass``; and what clients saw."""

    bare: list[float]
    rest: list[float]
    switch: list[float]
    busy: list[float]
    seen: list[Seen]

    def row(self, kind: str) -> str:
        """Of the table."""
        bare, rest, switch, busy = map(statistics.median, (self.bare, self.rest, self.switch, self.busy))
        failed = " | ".join(f"**{one.failed}** of {one.requests:,}" for one in self.seen)
        times = f"{rest * 1000:.0f} ms | {rest / bare:.1f} | {switch * 1000:.1f} ms | {busy * 1000:.0f} ms"
        return f"| {kind} | {times} | {failed} |\n"


def main(rounds: int) -> None:
    """Measure, print and write."""
    with Machine() as machine:
        found = {kind: machine.call(partial(inside, kind, rounds)) for kind in ("supervisord", "systemd")}
    table = HEAD + "".join(one.row(kind) for kind, one in found.items())
    note = f"\nMedians of {rounds}, from typing to the prompt. `python -m bench.standby {rounds}`.\n"
    pages.write("benchmarks.md", table + note, mark="standby")


def inside(kind: str, rounds: int) -> Found:
    """What is done in the machine."""
    place = Path(tempfile.mkdtemp(dir="/srv"))
    app = place / "app.js"
    app.write_text(APP.replace("process.argv[1]", "process.env.PORT"))
    site = BenchSite(place, app, runtime=kind, start=f"node {app.name}")
    with (site.root / "substitute.toml").open("a") as file:
        file.write('[app.bench.standby]\nkeep = "10m"\n')
    bare, rest, switch, busy = list[float](), list[float](), list[float](), list[float]()
    try:
        site.run("deploy")
        for number in range(rounds):
            bare.append(_timed([sys.executable, "-c", "pass"]))
            took, admit = back(site, f"at rest {number}")
            rest.append(took)
            switch.append(admit)

        def act() -> None:
            busy.extend(back(site, f"busy {number}")[0] for number in range(rounds))

        seen = loaded(site, act)
    finally:
        site.close()
    return Found(bare, rest, switch, busy, seen)


def back(site: BenchSite, version: str) -> tuple[float, float]:
    """Deploy `version`, and go back when its guardian has gone to sleep: seconds of the command, and of the switch."""
    site.commit(version)
    site.run("deploy")
    time.sleep(2)
    began = time.perf_counter()
    said = site.run("rollback", "--json").splitlines()
    took = time.perf_counter() - began
    return took, json.loads(said[-1])["seconds"]["admit"]


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
