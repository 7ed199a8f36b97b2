"""Ctrl-C, SIGTERM and SIGHUP: an exception where a command may be given up, held back everywhere else."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from substitute.core.model.errors import HandedOverError, InterruptedByUserError, SubstituteError
from substitute.core.model.events import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from substitute.core.model.events import Emit

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, the three signals only raise inside `allowed`; the first that does is the last.

    So a second Ctrl-C cannot abort the settling that the first one caused. None raises inside `whole` either. Whoever
    sends one that does not raise is told what goes on. In `handing_over` every signal but the first raises.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is called with the name of a signal that is held back; its errors are ignored."""
        self.tell = tell
        self._allowed = False
        self._raised = False
        self._leaving = False
        self._insisted = False
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

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """Raise HandedOverError in here, at a signal that is not the first."""
        self._leaving, self._insisted = True, False
        try:
            yield
        finally:
            self._leaving = False

    @property
    def can_hand_over(self) -> bool:
        """Whether another signal would raise now."""
        return self._leaving

    def due(self) -> None:
        """Raise what has been held back, where it may be raised now."""
        if self._received is None or whole.depth:
            return
        if self._allowed and not self._raised:
            self._raised = True
            raise self._error(self._received)
        if self._leaving and self._insisted:
            self._leaving = False
            raise HandedOverError(f"Interrupted by {_called(self._received)} again.")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._insisted = self._leaving and self._received is not None
        self._received = self._received or signal.Signals(number)
        self.due()
        if self._raised or not self._allowed:  # else it waits for a moment only
            self._tell(_called(signal.Signals(number)))

    def _tell(self, by: str) -> None:
        try:
            self.tell(by)
        except SubstituteError:
            raise  # the handler of another signal raised it
        except Exception:  # noqa: BLE001  # it was only to be told, and may have come in the middle of a print
            return

    @staticmethod
    def _error(number: signal.Signals) -> InterruptedByUserError:
        return InterruptedByUserError(f"Interrupted by {_called(number)}.")


def ends_soon(emit: Emit) -> Callable[[str], None]:
    """Tell of a command that obeys signals between its steps."""
    return lambda by: emit(Notice(f"{by}: this command ends as soon as nothing is half-done."))


def _called(number: signal.Signals) -> str:
    return "Ctrl-C" if number is signal.SIGINT else number.name


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
