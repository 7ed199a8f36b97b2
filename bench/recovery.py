"""Measures how long nobody answers after a program was killed; writes a table of docs/reliability.md.

    python -m bench.recovery [ROUNDS]

A new connection is tried again and again, 5 ms apart; what counts is the time from SIGKILL to the first good answer
that was asked for afterwards. Nobody types anything in between.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.machines import Machine

from bench import pages
from bench.processes import within
from bench.site import BenchSite
from bench.speed import APP
from substitute.linux.processes import identify, is_alive, parent
from substitute.linux.processes import name as name_of

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = 0.005
BETWEEN = 2.0
"""Seconds between two kills: nobody's restarts are to be held back because there were many."""


def main(rounds: int) -> None:
    """Measure, print and write."""
    with Machine() as machine:
        found = {kind: machine.call(partial(inside, kind, rounds)) for kind in ("supervisord", "systemd")}
    lines = ["| what is killed | " + " | ".join(found) + " |", "|---|---|---|"]
    for what in VICTIMS:
        cells = [
            f"{statistics.median(of[what]) * 1000:.0f} ms (at most {max(of[what]) * 1000:.0f})"
            for of in found.values()
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    note = f"\nMedian and worst of {rounds}; Python's sample app. `python -m bench.recovery {rounds}`.\n"
    pages.write("reliability.md", table + note, mark="recovery")


def inside(kind: str, rounds: int) -> dict[str, list[float]]:
    """What is done in the machine: the times by what was killed."""
    site = BenchSite(Path(tempfile.mkdtemp(dir="/srv")), APP, runtime=kind)
    try:
        site.run("deploy")
        return {what: [recovery(site, victim) for _ in range(rounds)] for what, victim in VICTIMS.items()}
    finally:
        site.close()


def recovery(site: BenchSite, victim: Callable[[BenchSite], int]) -> float:
    """Seconds until somebody answers again."""
    time.sleep(BETWEEN)
    process = identify(victim(site))
    if process is None:
        raise RuntimeError("it does not run")
    began = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    while is_alive(process) or not answers(site):
        time.sleep(PAUSE)
    return time.monotonic() - began


def answers(site: BenchSite) -> bool:
    """Whether a request on a new connection gets a good answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.listen}/", timeout=10) as answer:
            return bool(answer.read())
    except OSError:
        return False


def live(site: BenchSite) -> int:
    """The instance that serves."""
    app = site.status()["apps"][0]
    return int(app["slots"][app["live"]]["pid"])


def haproxy(site: BenchSite, *, master: bool) -> int:
    """Its master or its worker."""
    pids = {pid for pid in within(site.root / "deploy" / "run") if name_of(pid) == "haproxy"}
    (found,) = (pid for pid in pids if (parent(pid) not in pids) == master)
    return found


VICTIMS: dict[str, Callable[[BenchSite], int]] = {
    "the live instance": live,
    "HAProxy's worker": partial(haproxy, master=False),
    "HAProxy's master": partial(haproxy, master=True),
}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
