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
from pathlib import Path

import substitute
from bench.site import BenchSite, free_port

_APP = Path(__file__).parent.parent / "src/substitute/demo/app.py"


def main(rounds: int) -> None:
    """Run every measurement and print a table."""
    compileall.compile_dir(Path(substitute.__file__).parent, quiet=1)  # as `pip install` leaves it
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place:
        site = BenchSite(Path(place), _APP)
        try:
            rows = measure(site, rounds)
        finally:
            site.close()
    width = max(len(name) for name, _ in rows)
    print(f"{rounds} rounds, medians (min to max), {os.cpu_count()} cores, Python {sys.version.split()[0]}")  # noqa: T201
    for name, text in rows:
        print(f"  {name:<{width}}  {text}")  # noqa: T201


def measure(site: BenchSite, rounds: int) -> list[tuple[str, str]]:
    """All rows of the table."""
    own = [_own_start(site) for _ in range(rounds)]
    site.run("deploy")
    deploys, switches = [], []
    for number in range(rounds):
        site.commit(f"{number + 2}")
        deploys.append(_timed(site, "deploy"))
        switches.append(site.seconds()["admit"])
    rollbacks = [_timed(site, "rollback") for _ in range(rounds)]
    statuses = [_timed(site, "status") for _ in range(rounds)]
    versions = [_timed(site, "--version") for _ in range(rounds)]
    app = statistics.median(own)
    return [
        ("the app alone, exec to first answer", _row(own)),
        ("substitute deploy", _row(deploys)),
        ("  of it added by substitute", f"{(statistics.median(deploys) - app) * 1000:.0f} ms"),
        ("substitute rollback", _row(rollbacks)),
        ("  of it added by substitute", f"{(statistics.median(rollbacks) - app) * 1000:.0f} ms"),
        ("the switch itself (phase admit)", _row(switches)),
        ("substitute status", _row(statuses)),
        ("substitute --version", _row(versions)),
        ("supervisord and HAProxy, resident", f"{site.resident() / 1e6:.1f} MB"),
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
