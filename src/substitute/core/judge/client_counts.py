"""From single requests, as the balancer's log has them, to what is judged."""

from __future__ import annotations

from substitute.core.judge.block import Block, Histogram, Tally


class ClientCounts:
    """Counts clients, not requests: the balancer decides once to which version a client goes.

    A client that repeats a broken request each second is not a hundred failures. So its first failure counts, and then
    it is left out, on whichever version it is. A study of patients counts so, too (the logrank test).

    The durations of one client are alike, too. So a client counts with one of them at the first look at which it sends
    something, the second, the fourth, the eighth and so on. A thousand clients tell more than ten that stay.

    A request without a client's name counts as one of a client of its own. So does one with a name that was made up for
    it, since robots get another one each time, and all of them would have to be kept. But one that failed is kept: who
    comes back with that name, and fails again, is still one failure.
    """

    def __init__(self) -> None:
        self._failed_before: set[str] = set()
        self._looks: dict[str, int] = {}  # at how many each client was seen
        self._live = _Version()
        self._candidate = _Version()

    def add(
        self, *, candidate: bool, client: str | None, failed: bool, seconds: float, new: bool = False
    ) -> None:
        """Count a request that ended, of the candidate or of the live version.

        `client` is what the requests of one client have in common, such as its address; None if that is not known, or
        if all come from one proxy. `new` says that the name was made up for this request. `failed` is a 5xx or a broken
        connection. `seconds` is the time until the answer began.
        """
        version = self._candidate if candidate else self._live
        if client is None or (new and not failed):
            version.add_nameless(failed=failed, seconds=seconds)
        else:
            looks = self._looks.get(client, 0) + 1
            version.add(
                client,
                failed=failed,
                seconds=seconds,
                judged=client not in self._failed_before,
                timed=looks & (looks - 1) == 0,  # a power of two
            )

    def block(self) -> Block:
        """What was counted since the last call."""
        block = Block(self._live.tally(), self._candidate.tally())
        self._failed_before |= self._live.failing | self._candidate.failing
        for client in self._live.seen | self._candidate.seen:
            self._looks[client] = self._looks.get(client, 0) + 1
        self._live, self._candidate = _Version(), _Version()
        return block


class _Version:
    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.failing: set[str] = set()
        self._judged: set[str] = set()
        self._timed: set[str] = set()
        self._durations: list[float] = []
        self._requests = self._failures = self._nameless = self._nameless_failing = 0

    def add(self, client: str, *, failed: bool, seconds: float, judged: bool, timed: bool) -> None:
        self._requests += 1
        self._failures += failed
        self.seen.add(client)
        if judged:
            self._judged.add(client)
            if failed:
                self.failing.add(client)
        if timed and not failed and client not in self._timed:
            self._timed.add(client)
            self._durations.append(seconds)

    def add_nameless(self, *, failed: bool, seconds: float) -> None:
        self._requests += 1
        self._failures += failed
        self._nameless += 1
        self._nameless_failing += failed
        if not failed:
            self._durations.append(seconds)

    def tally(self) -> Tally:
        return Tally(
            self._requests,
            self._failures,
            len(self._judged) + self._nameless,
            len(self.failing) + self._nameless_failing,
            Histogram.of(self._durations),
        )
