"""What happened to each request, kept until it is told to the drill: a batch ten times a second."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from substitute.drill.load import LaneName
    from substitute.http.failures import FailedError

_VERSIONS = 100
"""So many are told apart; a header that differs in each answer is no version."""
_REST = "(others)"
STATUS = "status "
"""What the name of a count begins with that is of answers with one status."""


@dataclass(frozen=True)
class Failure:
    """A request that failed. Times are those of the monotonic clock."""

    lane: str
    kind: str
    detail: str
    intended: float
    at: float
    """When it was known."""
    version: str
    """Which version had answered before: on this connection, or else the last one on any."""


@dataclass
class Batch:
    """What happened since the last one. The four lists are columns: a row is an answered request."""

    lanes: list[str] = field(default_factory=list)
    intended: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    version: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Since the beginning: what is no request, and answers by their status. See `Recorder.count`."""
    lag: float = 0.0
    """Seconds that the generator itself was late at most, to send what it could have sent."""


class Recorder:
    """Takes note, and gives it away."""

    def __init__(self) -> None:
        self._batch = Batch()
        self._counts: dict[str, int] = {}
        self._versions: set[str] = set()
        self._latest = ""

    def answered(self, lane: LaneName, intended: float, now: float, version: str) -> None:
        """A request was answered, wholly and rightly."""
        if version not in self._versions:
            if len(self._versions) >= _VERSIONS:
                version = _REST
            self._versions.add(version)
        self._latest = version
        batch = self._batch
        batch.lanes.append(lane)
        batch.intended.append(intended)
        batch.latency.append(now - intended)
        batch.version.append(version)

    def failed(
        self, lane: LaneName, intended: float, now: float, failure: FailedError, version: str | None = None
    ) -> None:
        """A request failed; `version` is what the connection that it was sent on had answered with before."""
        before = self._latest if version is None else version
        self._batch.failures.append(Failure(lane, failure.kind, failure.detail, intended, now, before))

    def count(self, what: str) -> None:
        """Count something that is no request, or an answer by its status."""
        self._counts[what] = self._counts.get(what, 0) + 1

    def late(self, seconds: float) -> None:
        """The generator was late by so much."""
        self._batch.lag = max(self._batch.lag, seconds)

    def take(self) -> dict[str, Any]:
        """Give away what happened, as what JSON can hold, and begin anew."""
        batch, self._batch = self._batch, Batch()
        batch.counts = dict(self._counts)
        return asdict(batch)
