"""Ctrl-C, SIGTERM and SIGHUP: an exception where a deployment may be given up, held back everywhere else."""

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

    So a second Ctrl-C cannot abort the settling that the first one caused.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._received: signal.Signals | None = None
        self._earlier: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise InterruptedByUserError in here, at once where a signal came before."""
        self._allowed = True
        try:
            if self._received:
                raise self._error(self._received)
            yield
        finally:
            self._allowed = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first = self._received is None
        self._received = self._received or signal.Signals(number)
        if self._allowed and first:
            self._allowed = False
            raise self._error(self._received)

    @staticmethod
    def _error(number: signal.Signals) -> InterruptedByUserError:
        by = "Ctrl-C" if number is signal.SIGINT else number.name
        return InterruptedByUserError(f"Interrupted by {by}.")
