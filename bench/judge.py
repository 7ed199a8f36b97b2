"""Measures the judge of a canary by simulation, and writes the tables of docs/canary.md.

    python -m bench.judge [CANARIES]

How often it finds what, and how soon; how soon it says "no worse"; and how often it is wrong. Nothing is run but the
judge. All is seeded, so it comes out the same on every machine.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.canaries import LOOK, Canary, Clients
from tests.unit.test_judge import EQUAL

from bench import pages
from substitute.core.judge.judge import Judge
from substitute.core.judge.verdict import End

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

SHORT, LONG = 420, 1800
FALSE = 2000
POWER_HEAD = (
    "| the candidate | requests/s | its share | found in 7 min | in 30 min | median time | its requests until then |\n"
    "|---|---|---|---|---|---|---|\n"
)
FALSE_HEAD = "| equal versions | canaries | called worse |\n|---|---|---|\n"


@dataclass(frozen=True)
class Effect:
    """What is different with the candidate, and how much slower the judge tolerates."""

    name: str
    end: End = End.WORSE
    tolerated: float = 0.1
    what: dict[str, float] = field(default_factory=dict)


EFFECTS = (
    Effect("fails for 1 % more", what={"more_failures": 0.01}),
    Effect("fails for 10 % more", what={"more_failures": 0.1}),
    Effect("is 20 % slower", what={"slower": 1.2}),
    Effect("is 20 % slower, 5 % are tolerated", tolerated=0.05, what={"slower": 1.2}),
    Effect("is 20 % slower in its slowest tenth only", what={"slower": 1.2, "slower_above": 0.9}),
    Effect("is twice as slow", what={"slower": 2.0}),
    Effect('is as good: until "no worse"', end=End.NO_WORSE),
)


def main(canaries: int) -> None:
    """Measure every row, print and write the tables."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        power = [
            power_row(pool, effect, rate, share, canaries)
            for effect in EFFECTS
            for rate in (50, 500)
            for share in (0.05, 0.25)
        ]
        false = [false_row(pool, f"{len(EQUAL)} kinds of traffic, from 0.5 to 20 requests/s", EQUAL, FALSE)]
        false += [
            false_row(
                pool,
                f"60 clients that stay with their version, {share:.0%} of them with the candidate; 3 of them send "
                f"broken requests over and over; the judge {knows} which client sent a request",
                [Clients(number=60, share=share, named=named)],
                FALSE // 5,
            )
            for share in (0.05, 0.25)
            for knows, named in (("knows", True), ("does not know", False))
        ]
    note = (
        f"\nSimulated by `make bench`: {canaries} canaries each, each request of another client, a look every {LOOK:g} "
        "seconds, 0.1 % of the requests fail with the live version, median 100 ms and p95 520 ms (log-normal).\n\n"
    )
    tables = f"{POWER_HEAD}{''.join(power)}{note}{FALSE_HEAD}{''.join(false)}"
    pages.write("canary.md", tables)


def power_row(pool: Executor, effect: Effect, rate: float, share: float, canaries: int) -> str:
    """How soon it comes to an end."""
    canary = Canary(rate=rate, share=share, **effect.what)  # type: ignore[arg-type]
    run = partial(seconds_to, canary, effect.end, effect.tolerated)
    times = [each or float("inf") for each in pool.map(run, range(canaries))]
    middle = median(times)
    cells = [f"{sum(each <= limit for each in times) / canaries:.0%}" for limit in (SHORT, LONG)]
    cells += [f"{middle:.0f} s", f"{middle * rate * share:,.0f}"] if middle < LONG else ["over 30 min", ""]
    return shown(f"| {effect.name} | {rate} | {share:.0%} | {' | '.join(cells)} |\n")


def seconds_to(canary: Canary, end: End, tolerated: float, seed: int) -> float | None:
    """After which time this is the end for the first time; None if not within half an hour."""
    judge = Judge(tolerated=tolerated)
    for look, block in enumerate(canary.blocks(seed, LONG), 1):
        judge.look(block)
        if judge.worse if end is End.WORSE else judge.verdict().end is end:
            return look * LOOK
    return None


def false_row(pool: Executor, name: str, kinds: Sequence[Canary | Clients], number: int) -> str:
    """How many canaries of equal versions are called worse."""
    canaries = [kinds[seed % len(kinds)] for seed in range(number)]
    alarms = sum(pool.map(alarmed, canaries, range(number), chunksize=20))
    return shown(f"| {name} | {number:,} | {alarms} ({alarms / number:.1%}) |\n")


def alarmed(canary: Canary | Clients, seed: int) -> bool:
    """Whether it is called worse within a minute."""
    judge = Judge()
    for block in canary.blocks(seed, 60):
        judge.look(block)
        if judge.worse:
            return True
    return False


def shown(line: str) -> str:
    """The same line, printed."""
    print(line, end="", flush=True)  # noqa: T201
    return line


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
