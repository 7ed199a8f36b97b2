"""All that the generator told: every answered request in columns, every failure whole."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from substitute.drill.client.recorder import STATUS, Failure
from substitute.drill.load import PACED, STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Tick:
    """What came in within half a second, for a screen."""

    answered: int = 0
    failed: int = 0
    worst: float = 0.0


@dataclass(frozen=True)
class Answered:
    """One answered request. Times are those of the monotonic clock."""

    lane: str
    intended: float
    latency: float
    version: str


class Recording:
    """Grows by batches, perhaps in a thread of its own; what it has can be read at any time."""

    TICK = 0.5

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.counts: dict[str, int] = {}
        self.lag = 0.0
        self.began: float | None = None
        """When the load began; None before its first batch."""
        self.ticks: dict[int, Tick] = {}
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._versions: Counter[str] = Counter()
        self._streams_failed = 0
        self._lane = array("H")
        self._version = array("H")
        self._intended = array("d")
        self._latency = array("d")

    def add(self, batch: Mapping[str, Any]) -> None:
        """Take a batch of the generator."""
        self._lane.extend(map(self._number, batch["lanes"]))
        self._version.extend(map(self._number, batch["version"]))
        self._latency.extend(batch["latency"])
        self._intended.extend(batch["intended"])  # last: its length is the number of whole rows
        self._versions.update(batch["version"])
        for failure in batch["failures"]:
            self.failures.append(Failure(**failure))
            self._streams_failed += failure["lane"] in STREAMS
        self.counts = batch["counts"]
        self.began = batch["began"]
        self.lag = max(self.lag, batch["lag"])
        number = int(batch["now"] / self.TICK)
        tick = self.ticks.get(number, Tick())
        paced = (late for late, lane in zip(batch["latency"], batch["lanes"], strict=True) if lane in PACED)
        self.ticks[number] = Tick(
            tick.answered + len(batch["latency"]),
            tick.failed + len(batch["failures"]),
            max(tick.worst, *paced, 0.0),
        )

    def answered(self) -> Iterator[Answered]:
        """Every answered request, in the order of the answers."""
        names = self._names
        for index in range(len(self._intended)):
            yield Answered(
                names[self._lane[index]],
                self._intended[index],
                self._latency[index],
                names[self._version[index]],
            )

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers to requests had which status."""
        return {
            int(name.removeprefix(STATUS)): count
            for name, count in self.counts.items()
            if name.startswith(STATUS)
        }

    @property
    def requests(self) -> int:
        """Requests answered and failed, and streams opened or tried in vain."""
        tried = sum(self.counts.get(f"{name} tried", 0) for name in STREAMS)
        return len(self._intended) + len(self.failures) - self._streams_failed + tried

    def lanes(self) -> dict[str, dict[str, int]]:
        """Requests and failures of each kind of traffic."""
        failed = Counter(failure.lane for failure in self.failures)
        answered = Counter(self._names[number] for number in self._lane)
        found = {
            name: {"requests": answered[name] + failed[name], "failed": failed[name]}
            for name in sorted({*answered, *failed} - set(STREAMS))
        }
        for name in STREAMS:
            if tried := self.counts.get(f"{name} tried"):
                more = {
                    key.removeprefix(f"{name} "): count
                    for key, count in self.counts.items()
                    if key.startswith(f"{name} ") and not key.endswith(" tried")
                }
                found[name] = {"requests": tried, "failed": failed[name], **more}
        return found

    def versions(self) -> dict[str, int]:
        """How many answers came from which version; ``""`` is an answer that does not say."""
        return dict(sorted(self._versions.items()))

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number
