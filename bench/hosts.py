"""Measures a deployment to 1, 5 and 20 hosts, each a machine with a real sshd; writes into docs/hosts.md.

    python -m bench.hosts [ROUNDS [HOSTS ...]]

The app sleeps a minute before it answers. All hosts are deployed at the same time (`batch` = all). Twenty machines
share the cores of this one, so what a host needs of a processor is measured too: by the control group of its machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.fleets import Fleet
from tests.e2e.site import POLITE

if TYPE_CHECKING:
    from tests.machines import Machine

PAGE = Path(__file__).parent.parent / "docs" / "hosts.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
HEAD = "| hosts | a deployment | beside one host | processor time a host, there | and here |\n|---|---|---|---|---|\n"
SLEEPS = 60
APP = f"import time\n\ntime.sleep({SLEEPS})\n\n{POLITE.read_text()}"


def main(rounds: int, counts: list[int]) -> None:
    """Measure, print and write."""
    with Fleet(max(counts)) as fleet:
        fleet.configure(more='health = { timeout = "2m" }', more_of_hosts='answer_timeout = "2m"')
        fleet.run("hosts", "setup", patience=600)
        rows = [deployments(fleet, count, rounds) for count in counts]
    table = HEAD
    for count, (seconds, there, here) in zip(counts, rows, strict=True):
        ratio = seconds / rows[0][0]
        table += f"| {count} | {seconds:.1f} s | {ratio:.2f} x | {there:.2f} s | {here:.2f} s |\n"
    note = (
        f"\nMeasured on {datetime.now(UTC):%Y-%m-%d}, medians of {rounds}, by `python -m bench.hosts {rounds}`.\n"
        f"The app sleeps {SLEEPS} s before it answers; `batch` = all.\n"
        f"All hosts, and who deploys, share {os.cpu_count()} cores.\n"
    )
    print(table + note)  # noqa: T201
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table + note + END + after.partition(END)[2])


def deployments(fleet: Fleet, count: int, rounds: int) -> tuple[float, float, float]:
    """Seconds from typing to the prompt; and of a processor for each host, on its machine and here. Medians."""
    found = []
    names = ",".join(fleet.names[:count])
    for number in range(rounds + 1):
        fleet.commit(f"{count}.{number}", app=APP)
        there, here, began = used_there(fleet), used_here(), time.monotonic()
        fleet.run("deploy", "--on", names, patience=600)
        seconds = time.monotonic() - began
        found.append((seconds, (used_there(fleet) - there) / count, (used_here() - here) / count))
        print(f"{count} hosts: {found[-1]}", file=sys.stderr, flush=True)  # noqa: T201
    seconds, on_each, by_us = (statistics.median(one) for one in zip(*found[1:], strict=True))
    return seconds, on_each, by_us  # without the first, which starts the balancer and the runtime


def used_there(fleet: Fleet) -> float:
    """Seconds of a processor that all machines have used so far."""
    return sum(map(_used, fleet.machines.values()))


def _used(machine: Machine) -> float:
    group, all_groups = machine.control_group, Path("/sys/fs/cgroup")
    if (usage := all_groups / "cpuacct" / group / "cpuacct.usage").exists():
        return int(usage.read_text()) / 1e9
    words = (all_groups / group / "cpu.stat").read_text().split()
    return int(words[words.index("usage_usec") + 1]) / 1e6


def used_here() -> float:
    """The same of what this process has started and waited for."""
    spent = os.times()
    return spent.children_user + spent.children_system


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 3, list(map(int, sys.argv[2:])) or [1, 5, 20])
