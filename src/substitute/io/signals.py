"""Signals that must not come at a certain moment."""

from __future__ import annotations

import os
import signal
from _thread import get_native_id
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let no handler raise in here; signals are delivered after."""
    if get_native_id() != os.getpid():  # a thread, which no handler runs in
        yield
        return
    received: list[int] = []
    earlier = {number: signal.getsignal(number) for number in _HELD if callable(signal.getsignal(number))}
    for number in earlier:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    for late in received:
        signal.raise_signal(late)
