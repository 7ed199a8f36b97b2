"""Measures whole commands on this machine, as a user would wait for them; prints medians.

    python -m bench.speed [ROUNDS]

What a deployment adds: its wall time, less the app's own time from exec to its first answer (measured here by
starting the same app alone), for an app without a build.
"""

from __future__ import annotations

import compileall
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

import substitute
from bench.site import BenchSite, free_port

APP = Path(__file__).parent.parent / "src/substitute/demo/app.py"


def main(rounds: int) -> None:
    """Run every measurement and print a table."""
    compileall.compile_dir(Path(substitute.__file__).parent, quiet=1)  # as `pip install` leaves it
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

    own: list[float]
    """The app alone, from exec to its first answer."""
    deploy: list[float]
    switch: list[float]
    rollback: list[float]
    status: list[float]
    version: list[float]
    resident: int

    @staticmethod
    def median(seconds: list[float]) -> float:
        """In the middle."""
        return statistics.median(seconds)

    def added(self, seconds: list[float]) -> float:
        """What a command takes beyond the app's own boot."""
        return self.median(seconds) - self.median(self.own)


def measure(site: BenchSite, rounds: int) -> Speed:
    """Run every command so often."""
    own = [_own_start(site) for _ in range(rounds)]
    site.run("deploy")
    deploys, switches = [], []
    for number in range(rounds):
        site.commit(f"{number + 2}")
        deploys.append(_timed(site, "deploy"))
        switches.append(site.seconds()["admit"])
    return Speed(
        own,
        deploys,
        switches,
        rollback=[_timed(site, "rollback") for _ in range(rounds)],
        status=[_timed(site, "status") for _ in range(rounds)],
        version=[_timed(site, "--version") for _ in range(rounds)],
        resident=site.resident(),
    )


def table(speed: Speed) -> list[tuple[str, str]]:
    """Its rows, for people."""
    return [
        ("the app alone, exec to first answer", _row(speed.own)),
        ("substitute deploy", _row(speed.deploy)),
        ("  of it added by substitute", f"{speed.added(speed.deploy) * 1000:.0f} ms"),
        ("substitute rollback", _row(speed.rollback)),
        ("  of it added by substitute", f"{speed.added(speed.rollback) * 1000:.0f} ms"),
        ("the switch itself (phase admit)", _row(speed.switch)),
        ("substitute status", _row(speed.status)),
        ("substitute --version", _row(speed.version)),
        ("supervisord and HAProxy, resident", f"{speed.resident / 1e6:.1f} MB"),
    ]


def _row(seconds: list[float]) -> str:
    middle = statistics.median(seconds) * 1000
    return f"{middle:.1f} ms  ({min(seconds) * 1000:.1f} to {max(seconds) * 1000:.1f})"


def _timed(site: BenchSite, *arguments: str) -> float:
    began = time.perf_counter()
    site.run(*arguments)
    return time.perf_counter() - began


def _own_start(site: BenchSite) -> float:
    port = free_port()
    began = time.perf_counter()
    app = subprocess.Popen(
        site.start.split(),
        cwd=site.repository,
        env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while True:
            with suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
                return time.perf_counter() - began
            time.sleep(0.001)
    finally:
        app.terminate()
        app.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
