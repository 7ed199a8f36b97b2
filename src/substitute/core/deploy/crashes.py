"""How often an instance has ended by itself, and which ones do so again and again while somebody watches.

A worker that ends is started again, and that may be meant: some end after so many jobs. So it fails no deployment.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.core.host import Host
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Inspection, Process

MANY, LATELY = 3, 60.0
"""What has ended so often, within so many seconds, does so again and again."""


def crashes(instance: InstanceRecord, seen: Inspection) -> int | None:
    """How often it ended by itself since it was started here; None where nobody counts."""
    if seen.restarts is not None:
        return seen.restarts
    if instance.process is None or instance.process.pid not in seen.pids:
        return None
    lives = len(seen.pids) - max(at for at, pid in enumerate(seen.pids) if pid == instance.process.pid)
    return lives - 1 if seen.process else lives


class CrashWatch:
    """Looks at instances that need not stay up."""

    def __init__(self, host: Host, instances: Iterable[InstanceRecord]) -> None:
        self._host, self._instances = host, list(instances)
        self._lives: dict[str, set[Process]] = defaultdict(set)
        self._counts: dict[str, deque[tuple[float, int]]] = defaultdict(deque)
        """Of the last minute: when it was looked, and how often each had ended by then."""

    def look(self) -> Sequence[InstanceRecord]:
        """Look once: those that have ended again and again since the first look, each of them once. Never raises."""
        found = [one for one in self._instances if self._loops(one)]
        self._instances = [one for one in self._instances if one not in found]
        return found

    def _loops(self, one: InstanceRecord) -> bool:
        now, counts = self._host.clock.monotonic(), self._counts[one.name]
        counts.append((now, self._count(one)))
        while counts[0][0] < now - LATELY:
            counts.popleft()
        return counts[-1][1] - counts[0][1] >= MANY

    def _count(self, one: InstanceRecord) -> int:
        seen, lives = self._host.inspect(one), self._lives[one.name]
        if seen.process:
            lives.add(seen.process)
        counted = crashes(one, seen)
        return len(lives) if counted is None else counted
