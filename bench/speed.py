"""Measures whole commands on this machine, as a user would wait for them; prints medians.

    python -m bench.speed [ROUNDS]

What a deployment adds: its wall time, less the app's own time from exec to its first answer (measured here by
starting the same app alone), for an app without a build. Processor time is that of the command with its helpers, and
of supervisord with what ended under it meanwhile: the guardian and the instance before. Machines differ, so each
figure is also given as so many times the start of Python itself (``python -c pass``). All are measured in turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.processes import children
from bench.site import BenchSite, free_port

APP = Path(__file__).parent.parent / "src/substitute/demo/app.py"


def main(rounds: int) -> None:
    """Run every measurement and print a table."""
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place:
        site = BenchSite(Path(place), APP)
        try:
            rows = table(measure(site, rounds))
        finally:
            site.close()
    width = max(len(name) for name, _ in rows)
    print(f"{rounds} rounds, medians (min to max), {os.cpu_count()} cores, Python {sys.version.split()[0]}")  # noqa: T201
    for name, text in rows:
        print(f"  {name:<{width}}  {text}")  # noqa: T201


@dataclass(frozen=True)
class Speed:
    """What was measured: seconds of each round, and bytes."""

    bare: list[float]
    """Python alone: ``python -c pass``."""
    own: list[float]
    """The app alone, from exec to its first answer."""
    ending: list[float]
    """The app alone, from SIGTERM to its end; the old instance takes as long in each deployment."""
    deploy: list[float]
    switch: list[float]
    rollback: list[float]
    status: list[float]
    version: list[float]
    command_cpu: list[float]
    """Processor seconds of ``deploy`` and of what it ran and waited for."""
    keeper_cpu: list[float]
    """Of supervisord and of what ended under it meanwhile: the guardian and the instance before."""
    resident: int

    @staticmethod
    def median(seconds: list[float]) -> float:
        """In the middle."""
        return statistics.median(seconds)

    def added(self, seconds: list[float]) -> float:
        """What a command takes beyond the app's own boot."""
        return self.median(seconds) - self.median(self.own)


def measure(site: BenchSite, rounds: int) -> Speed:
    """Run every command so often, in turns."""
    site.run("deploy")
    seconds: dict[str, list[float]] = {}

    def note(name: str, took: float) -> None:
        seconds.setdefault(name, []).append(took)

    for number in range(rounds):
        note("bare", _bare_start())
        own, ending = _own_life(site)
        note("own", own)
        note("ending", ending)
        site.commit(f"{number + 2}")
        command, keeper = children(), site.cpu_of_supervisord()
        note("deploy", _timed(site, "deploy"))
        note("command_cpu", children() - command)
        note("keeper_cpu", site.cpu_of_supervisord() - keeper)
        note("switch", site.seconds()["admit"])
        note("rollback", _timed(site, "rollback"))
        note("status", _timed(site, "status"))
        note("version", _timed(site, "--version"))
    return Speed(**seconds, resident=site.resident())


def table(speed: Speed) -> list[tuple[str, str]]:
    """Its rows, for people."""
    bare = speed.median(speed.bare)

    def row(seconds: list[float]) -> str:
        middle, least, most = (1000 * value for value in (speed.median(seconds), min(seconds), max(seconds)))
        return f"{middle:.1f} ms  ({least:.1f} to {most:.1f})  {middle / bare / 1000:.1f} x"

    def added(seconds: list[float]) -> str:
        more = speed.added(seconds)
        return f"{more * 1000:.0f} ms  {more / bare:.1f} x"

    return [
        ("python -c pass", row(speed.bare)),
        ("the app alone, exec to first answer", row(speed.own)),
        ("the app alone, SIGTERM to its end", row(speed.ending)),
        ("substitute deploy", row(speed.deploy)),
        ("  of it added by substitute", added(speed.deploy)),
        ("  processor time of the command", row(speed.command_cpu)),
        ("  of supervisord, guardian, old instance", row(speed.keeper_cpu)),
        ("substitute rollback", row(speed.rollback)),
        ("  of it added by substitute", added(speed.rollback)),
        ("the switch itself (phase admit)", row(speed.switch)),
        ("substitute status", row(speed.status)),
        ("substitute --version", row(speed.version)),
        ("supervisord and HAProxy, resident", f"{speed.resident / 1e6:.1f} MB"),
    ]


def _timed(site: BenchSite, *arguments: str) -> float:
    began = time.perf_counter()
    site.run(*arguments)
    return time.perf_counter() - began


def _bare_start() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _own_life(site: BenchSite) -> tuple[float, float]:
    """How long the app takes to its first answer, and to its end."""
    port = free_port()
    began = time.perf_counter()
    app = subprocess.Popen(
        site.start.split(),
        cwd=site.repository,
        env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not _answers(port):
            time.sleep(0.001)
        took = time.perf_counter() - began
    finally:
        told = time.perf_counter()
        app.terminate()
        app.wait()
    return took, time.perf_counter() - told


def _answers(port: int) -> bool:
    with suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
        return True
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
