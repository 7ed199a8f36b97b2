"""What can happen in the middle of a command, and how one ends."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from xmlrpc.client import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.core.model.errors import SubstituteError


class Killed(BaseException):
    """SIGKILL. No code of the deployer's may catch it, and nothing that it tries afterwards has an effect."""


class What(StrEnum):
    """What can happen in the middle of a command."""

    KILL = "the deployer is killed"
    FAIL = "what it does fails"
    INTERRUPT = "Ctrl-C"
    CRASH_A = "slot a crashes"
    CRASH_B = "slot b crashes"
    SICKEN_A = "slot a stops answering well"
    SICKEN_B = "slot b stops answering well"
    LOSE_RUNTIME = "the runtime is killed"
    LOSE_BALANCER = "the balancer is killed"
    RAISE = "a call raises what nobody foresaw"
    SIGNAL = "Ctrl-C in the middle of a transaction"
    BLIND = "the balancer does not tell what it does, for a moment"
    REFUSE = "the balancer obeys nothing any more in this command"
    INSIST = "Ctrl-C twice"


LEFT_ALONE = frozenset(
    {What.FAIL, What.INTERRUPT, What.RAISE, What.SIGNAL, What.BLIND, What.REFUSE, What.INSIST}
)
"""After these each instance is as it was: what a command says of it must be true at its end."""
SURPRISES = (
    OSError(errno.EIO, "Input/output error"),
    RuntimeError("a surprise"),
    Fault(1, "UNKNOWN_METHOD"),
    sqlite3.OperationalError("disk I/O error"),
)
_AT_A_DEED = {What.KILL, What.FAIL, What.INTERRUPT}
"""A deployer that dies before a look might as well die before the next deed. The others may happen between looks."""


@dataclass(frozen=True)
class Mishap:
    """Something that happens right before the call number `at` of a command, counted from 1."""

    what: What
    at: int


class Moments:
    """The calls of one command, counted, and which of its mishaps happens at each."""

    def __init__(self, mishaps: Sequence[Mishap] = ()) -> None:
        self._left = list(mishaps)
        self._calls = self._deeds = self._failable = self._statements = 0
        self.happened: list[What] = []

    @property
    def surprise(self) -> Exception:
        """What nobody foresaw, at this call."""
        return SURPRISES[self._calls % len(SURPRISES)]

    def call(self, *, deed: bool, failable: bool) -> What | None:
        """What happens at the next call. It may be a deed, and one that can fail."""
        self._calls += 1
        self._deeds += deed
        self._failable += failable
        for mishap in self._left:
            if mishap.what is What.FAIL:
                due = failable and self._failable == mishap.at
            elif mishap.what in _AT_A_DEED:
                due = deed and self._deeds == mishap.at
            else:
                due = mishap.what is not What.SIGNAL and self._calls == mishap.at
            if due:
                return self._happen(mishap)
        return None

    def statement(self) -> Iterator[What]:
        """What happens as the next transaction begins or ends, one after the other."""
        self._statements += 1
        due = Mishap(What.SIGNAL, self._statements)
        for _ in range(self._left.count(due)):
            yield self._happen(due)

    def _happen(self, mishap: Mishap) -> What:
        self._left.remove(mishap)
        self.happened.append(mishap.what)
        return mishap.what


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    error: SubstituteError | KeyboardInterrupt | None
    killed: bool
    happened: frozenset[What] = frozenset()

    @property
    def disturbed(self) -> bool:
        """Whether a mishap has happened in it."""
        return bool(self.happened)

    @property
    def succeeded(self) -> bool:
        """Whether it returned."""
        return self.error is None and not self.killed
