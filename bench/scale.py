"""Measures a root of 50 apps whose journal holds 10,000 deployments beside one of a single app; and what grows.

    python -m bench.scale [ROUNDS [DEPLOYMENTS]]

Medians of whole commands, in turns. Then so many deployments in a row, and what there is more of after them.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from bench.memory import resident, within
from bench.site import BenchSite, free_ports
from bench.speed import APP

APPS, DEPLOYMENTS = 50, 10_000
COMMANDS = {
    "status": ("status", "-a", "bench"),
    "history": ("history", "-a", "bench"),
    "deploy": ("deploy", "-a", "bench"),
    "rollback": ("rollback", "-a", "bench"),
}


def main(rounds: int, deployments: int) -> None:
    """Run every measurement and print it."""
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place, ExitStack() as stack:
        sites = {}
        for name in ("one app", f"{APPS} apps, {DEPLOYMENTS:,} deployments"):
            directory = Path(place, name.partition(",")[0].replace(" ", "-"))
            directory.mkdir()
            sites[name] = BenchSite(directory, APP)
            stack.callback(sites[name].close)
        small, large = sites.values()
        fill(large)
        for site in sites.values():
            site.run("deploy", "-a", "bench")
        for command, arguments in COMMANDS.items():
            seconds: dict[BenchSite, list[float]] = {small: [], large: []}
            for number in range(rounds):
                for site, taken in seconds.items():
                    site.commit(f"{command} {number}")
                    began = time.perf_counter()
                    site.run(*arguments)
                    taken.append(time.perf_counter() - began)
            one, many = (1000 * statistics.median(taken) for taken in seconds.values())
            print(f"{command:<9} {one:6.0f} ms, with {APPS} apps {many:6.0f} ms: {many / one:.2f} x")  # noqa: T201
        before = held(small)
        for number in range(deployments):
            small.commit(f"again {number}")
            small.run("deploy", "-a", "bench")
        after = held(small)
        print(f"after {deployments} deployments:")  # noqa: T201
        for what, number in after.items():
            print(f"  {what:<42} {before[what]:12,} then {number:12,}")  # noqa: T201


def fill(site: BenchSite) -> None:
    """Name all the other apps in the configuration, and have them and many deployments in the journal."""
    names = [f"app{number}" for number in range(1, APPS)]
    ports = iter(free_ports(2 * len(names), besides=[site.listen, *site.ports]))
    configuration = site.root / "substitute.toml"
    tables = [
        f'\n[app.{name}]\nrepo = "{site.repository}"\nstart = "{site.start}"\n'
        f'domains = ["{name}.example.com"]\nports = [{next(ports)}, {next(ports)}]\n'
        for name in names
    ]
    configuration.write_text(configuration.read_text() + "".join(tables))
    site.run("up")  # each is registered
    with closing(sqlite3.connect(site.root / "deploy" / "journal.db")) as journal, journal:
        journal.executemany(
            "INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome, seconds)"
            " VALUES (?, 'deploy', ?, ?, ?, ?, ?, 'succeeded', '{\"total\": 1.0}')",
            (
                (["bench", *names][number % APPS], "ab"[number % 2], f"{number:040x}", number, number, number)
                for number in range(DEPLOYMENTS)
            ),
        )


def held(site: BenchSite) -> dict[str, int]:
    """What the root holds on the machine now."""
    deploy = site.root / "deploy"
    running = within(deploy / "run")
    files = [file for file in deploy.rglob("*") if file.is_file() and file.suffix != ".log"]
    return {
        "processes of supervisord and HAProxy": len(running),
        "descriptors that they hold": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in running),
        "bytes of memory that they hold": resident(running),
        "files below deploy, without logs": len(files),
        "bytes of the journal": (deploy / "journal.db").stat().st_size,
    }


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [5, 200][len(given) :]))
