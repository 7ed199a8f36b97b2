"""Measures a root of 50 apps whose journal holds 10,000 deployments beside one of a single app; and what grows.

    python -m bench.scale [ROUNDS [DEPLOYMENTS]]

Each of the 50 apps runs and is served. Medians of whole commands, in turns. Then so many deployments of one app in a
row, and what there is more of after them. Both are tables of docs/benchmarks.md.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from bench import pages
from bench.processes import resident, within
from bench.site import BenchSite, free_ports
from bench.speed import APP

APPS, DEPLOYMENTS, FIRST = 50, 10_000, 10
TIMES = (
    f"| command | one app | {APPS} apps that run, {DEPLOYMENTS:,} deployments in the journal | times |\n"
    "|---|---|---|---|\n"
)
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
        times = []
        small.run("deploy", "-a", "bench")
        for command, arguments in COMMANDS.items():
            seconds: dict[BenchSite, list[float]] = {small: [], large: []}
            for number in range(rounds):
                for site, taken in seconds.items():
                    site.commit(f"{command} {number}")
                    began = time.perf_counter()
                    site.run(*arguments)
                    taken.append(time.perf_counter() - began)
            one, many = (1000 * statistics.median(taken) for taken in seconds.values())
            times.append(f"| `{command}` | {one:.0f} ms | {many:.0f} ms | {many / one:.2f} |\n")
        for number in range(FIRST):  # until what is kept of earlier ones is all there
            redeploy(small, f"first {number}")
        before = held(small)
        for number in range(deployments):
            redeploy(small, f"again {number}")
        after = held(small)
    grown = [f"| {what} | {before[what]:,} | {number:,} |\n" for what, number in after.items()]
    how = f"Medians of {rounds} whole commands, in turns."
    growth = f"\n| of a root with one app | after {FIRST} deployments | after {deployments} more |\n|---|---|---|\n"
    table = TIMES + "".join(times) + growth + "".join(grown)
    pages.write("benchmarks.md", table + pages.measured(how, f"scale {rounds} {deployments}"), mark="scale")


def redeploy(site: BenchSite, version: str) -> None:
    """Deploy another version of its app."""
    site.commit(version)
    site.run("deploy", "-a", "bench")


def fill(site: BenchSite) -> None:
    """Deploy all of its apps, and have many earlier deployments in the journal."""
    names = [f"app{number}" for number in range(1, APPS)]
    ports = iter(free_ports(2 * len(names), besides=[site.listen, *site.ports]))
    configuration = site.root / "substitute.toml"
    tables = [
        f'\n[app.{name}]\nrepo = "{site.repository}"\nstart = "{site.start}"\n'
        f'domains = ["{name}.example.com"]\nports = [{next(ports)}, {next(ports)}]\n'
        for name in names
    ]
    configuration.write_text(configuration.read_text() + "".join(tables))
    for name in ("bench", *names):
        site.run("deploy", "-a", name)
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
    running = within(site.root, below=True)
    balancer = {pid for pid in running if "haproxy" in Path(f"/proc/{pid}/comm").read_text()}
    files = [one for one in site.root.rglob("*") if one.is_file() and not one.is_symlink()]
    logs = [one for one in files if one.is_relative_to(deploy / "log") or one.suffix == ".log"]
    return {
        "processes": len(running),
        "descriptors that they hold": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in running),
        "memory of HAProxy, kB": resident(balancer) // 1000,
        "memory of supervisord, kB": resident(within(deploy / "run") - balancer) // 1000,
        "files, slots and repository too": len(files) - len(logs),
        "their size, kB": sum(one.stat().st_size for one in set(files) - set(logs)) // 1000,
        "the journal of it, kB": (deploy / "journal.db").stat().st_size // 1000,
        "logs, kB": sum(one.stat().st_size for one in logs) // 1000,
    }


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [5, 200][len(given) :]))
