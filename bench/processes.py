"""What processes use: memory that stays taken, processor time."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def resident(pids: Iterable[int]) -> int:
    """Bytes that these processes hold: their proportional set size, which counts a shared page once."""
    total = 0
    for pid in set(pids):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def within(directory: Path, *, below: bool = False) -> set[int]:
    """The processes whose working directory is `directory`, or one `below` it."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = (entry / "cwd").resolve()
            if place == directory or (below and place.is_relative_to(directory)):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def children() -> float:
    """Processor seconds of all that was run and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
