"""Measures the same app on the machine itself, in Docker's containers and in Podman's; writes a table of docs.

    python -m bench.containers [ROUNDS]

wrk asks without a pause, GET and POST, while versions are deployed and rolled back by turns; it never repeats a
request. The image is this machine's own Python: no registry has a part in it. Docker's daemon is one of the
measurement's own. Needs root, Docker and Podman.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contracts.dockerd import dockerd
from tests.images import PYTHON, write_python

from bench import pages
from bench.site import BenchSite
from bench.speed import APP
from bench.swaps import Seen, loaded
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "localhost/substitute-bench:python"
HEAD = (
    "| how it runs | build | start | until ready | deployment | rollback | requests/s | failed GET | failed POST |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
KINDS = ("supervisord", "docker", "podman")
_SETTINGS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
"""
"""Of Podman, for machines where crun refuses both versions of control groups at once."""


@dataclass
class Found:
    """Seconds at rest, by phase; and what clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: list[Seen] = field(default_factory=list)

    def row(self, kind: str) -> str:
        """Of the table."""
        names = ("build", "start", "ready", "total", "rollback")
        times = (f"{1000 * statistics.median(self.seconds[name]):.0f} ms" for name in names)
        rate = sum(one.requests / one.seconds for one in self.seen)
        failed = (f"**{one.failed}** of {one.requests:,}" for one in self.seen)
        return f"| {kind} | {' | '.join(times)} | {rate:,.0f} | {' | '.join(failed)} |\n"


def main(rounds: int) -> None:
    """Measure, print and write."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="substitute-bench-")))
        os.environ["DOCKER_HOST"] = stack.enter_context(dockerd()).host
        settings = place / "containers.conf"
        settings.write_text(_SETTINGS)
        os.environ["CONTAINERS_CONF"] = str(settings)
        _import_python()
        found = {kind: measure(kind, place / kind, rounds) for kind in KINDS}
        subprocess.run(["podman", "image", "rm", "--force", BASE], check=False, capture_output=True)
    table = HEAD + "".join(one.row(kind) for kind, one in found.items())
    note = (
        f"\nMedians of {rounds} at rest; requests/s and failures over {2 * rounds} deployments and rollbacks at\n"
        f"saturation, on {os.cpu_count()} cores that all share. `python -m bench.containers {rounds}`.\n"
    )
    pages.write("containers.md", table + note)


def measure(kind: str, place: Path, rounds: int) -> Found:
    """One way of running it."""
    place.mkdir()
    site = BenchSite(place, APP, runtime=kind, start=f"{PYTHON} -S -E app.py")
    if kind != "supervisord":
        (site.repository / "Dockerfile").write_text(f"FROM {BASE}\nCOPY app.py version.txt /app/\n")
        with (site.root / "substitute.toml").open("a") as file:
            file.write('dockerfile = "Dockerfile"\n')
    found = Found()
    versions = _versions(site)
    try:
        site.run("deploy", next(versions))
        for _ in range(rounds):
            site.run("deploy", next(versions))
            for phase, seconds in site.seconds().items():
                found.seconds[phase].append(seconds)
            site.run("rollback")
            found.seconds["rollback"].append(site.seconds()["total"])

        def act() -> None:
            for _ in range(rounds):
                site.run("deploy", next(versions))
                site.run("rollback")

        found.seen = loaded(site, act)
    finally:
        site.close()
    return found


def _versions(site: BenchSite) -> Iterator[str]:
    number = 1
    while True:
        number += 1
        yield site.commit(str(number))


def _import_python() -> None:
    tar = io.BytesIO()
    write_python(tar)
    for engine in ("docker", "podman"):
        command = [engine, "import", "--change", "WORKDIR /app", "-", BASE]
        subprocess.run(command, input=tar.getvalue(), check=True, capture_output=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
