"""Ctrl-C, SIGTERM and SIGHUP: an exception where a command may be given up, held back everywhere else."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from substitute.core.errors import InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, the three signals only raise inside `allowed`; the first that does is the last.

    So a second Ctrl-C cannot abort the settling that the first one caused. None raises inside `whole` either.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._raised = False
        self._received: signal.Signals | None = None
        self._earlier: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                self._earlier[number] = signal.signal(number, self._handle)
        whole.waiting.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        whole.waiting.remove(self)
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise InterruptedByUserError in here, at once where a signal came before."""
        self._allowed = True
        try:
            self.due()
            if self._received:  # it has interrupted something before, and what came of that goes on
                raise self._error(self._received)
            yield
        finally:
            self._allowed = False

    def due(self) -> None:
        """Raise what has been held back, where it may be raised now."""
        if self._received and self._allowed and not self._raised and not whole.depth:
            self._raised = True
            raise self._error(self._received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._received = self._received or signal.Signals(number)
        self.due()

    @staticmethod
    def _error(number: signal.Signals) -> InterruptedByUserError:
        by = "Ctrl-C" if number is signal.SIGINT else number.name
        return InterruptedByUserError(f"Interrupted by {by}.")


class _Whole:
    """What is done inside is done whole: signals wait until it is left. May be entered again inside.

    A class of its own and no generator: between the count and the block that it guards no signal can come.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.waiting: list[Interrupts] = []

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, kind: object, *_: object) -> None:
        self.depth -= 1
        if kind is None:  # else the error goes first; whoever waits next is interrupted then
            for interrupts in self.waiting:
                interrupts.due()


whole = _Whole()
