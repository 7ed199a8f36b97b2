"""What a drill came to, as one document: the same for ``--json``, the journal, the screen and the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from substitute.console.jsonlines import iso_time
from substitute.drill.load import PACED
from substitute.drill.result.latency import summarize

if TYPE_CHECKING:
    from substitute.drill.client.recorder import Failure
    from substitute.drill.load import Load
    from substitute.drill.result.course import Course
    from substitute.drill.result.recording import Recording
    from substitute.drill.result.timeline import Timeline

PARTS = ("before", "during", "after")


@dataclass(frozen=True)
class Result:
    """A finished drill."""

    app: str
    operation: str | None
    """What was typed, as ``deploy v2``; None is a baseline."""
    started: float
    """Seconds since the epoch."""
    load: Load
    course: Course
    timeline: Timeline
    recording: Recording

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return len(self.recording.failures)

    @property
    def exit_status(self) -> int:
        """The operation's own where that did not succeed; else 1 where anything failed."""
        if self.course.error:
            return self.course.error.exit_status
        return 1 if self.failed or self.course.lost or not self.recording.requests else 0

    @property
    def outcome(self) -> str | None:
        """How the operation ended."""
        if self.operation is None:
            return None
        if self.timeline.succeeded:
            return "succeeded"
        return "interrupted" if self.course.error and self.course.error.exit_status == 130 else "failed"

    @property
    def seconds(self) -> float:
        """From the first request to the last."""
        return (self.timeline.end or self.timeline.start) - self.timeline.start

    def failure(self, failure: Failure) -> dict[str, Any]:
        """One failure, with its phase; times are seconds since the drill began."""
        start = self.timeline.start
        return {
            "at": round(failure.at - start, 6),
            "sent": round(failure.intended - start, 6),
            "phase": self.timeline.phase_at(failure.at),
            "kind": failure.kind,
            "detail": failure.detail,
            "lane": failure.lane,
            "version": failure.version or None,
        }

    def latency(self) -> dict[str, dict[str, Any]]:
        """Of the paced requests, by the part of the drill that they were meant to be sent in."""
        found: dict[str, list[float]] = defaultdict(list)
        for one in self.recording.answered():
            if one.lane in PACED:
                found[self.timeline.part_at(one.intended)].append(one.latency)
        total = [latency for part in found.values() for latency in part]
        parts = PARTS if self.operation else ()
        failed = self._failed_by_part()
        named = {part: (found[part], failed[part]) for part in parts}
        named["all"] = (total, sum(failed.values()))
        return {
            part: {**summarize(latencies).document(), "failed": bad}
            for part, (latencies, bad) in named.items()
        }

    def _failed_by_part(self) -> Counter[str]:
        return Counter(self.timeline.part_at(one.at) for one in self.recording.failures if one.lane in PACED)

    def summary(self) -> dict[str, Any]:
        """All but the single failures."""
        start, ended = self.timeline.start, self.timeline.succeeded
        error = self.course.error
        return {
            "app": self.app,
            "operation": self.operation,
            "outcome": self.outcome,
            "deployment": self.timeline.deployment,
            "commit": self.timeline.commit,
            "live": ended.live if ended else None,
            "reason": error.reason if error else "",
            "serves": error.serves if error else "",
            "exit": self.exit_status,
            "started": iso_time(self.started),
            "seconds": round(self.seconds, 3),
            "requests": self.recording.requests,
            "failed": self.failed,
            "complete": not self.course.lost,
            "latency": self.latency(),
            "versions": self.recording.versions(),
            "lanes": self.recording.lanes(),
            "phases": [
                {"name": one.name, "start": round(one.start - start, 6), "end": round(one.end - start, 6)}
                for one in self.timeline.stretches()
            ],
            "load": {
                "url": self.load.url + self.load.path,
                "method": self.load.method,
                "rate": self.load.rate,
                "connections": self.load.connections,
            },
            "client": {
                "lag": round(self.recording.lag, 6),
                "idle_closed": self.recording.counts.get("idle connections closed by the server", 0),
            },
        }

    def document(self) -> dict[str, Any]:
        """Everything."""
        return {**self.summary(), "failures": [self.failure(one) for one in self.recording.failures]}
