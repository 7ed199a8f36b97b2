"""Signals: where they interrupt, and where they wait."""

from __future__ import annotations

import signal
import sys
from itertools import count
from typing import TYPE_CHECKING, Self

import pytest

from substitute.core.interrupts import Interrupts, whole
from substitute.core.model.errors import HandedOverError, InterruptedByUserError
from substitute.core.state.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType


def test_a_signal_waits_for_what_is_done_whole_and_then_interrupts() -> None:
    done = []

    def act() -> None:
        with whole, whole:
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")
        done.append("more")

    with Interrupts(print) as interrupts, pytest.raises(InterruptedByUserError), interrupts.allowed():
        act()
    assert done == ["whole"]


def test_a_signal_interrupts_once_and_never_what_that_has_caused() -> None:
    with Interrupts(print) as interrupts:
        with pytest.raises(InterruptedByUserError), interrupts.allowed():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with whole:
            signal.raise_signal(signal.SIGINT)


def test_who_sends_a_signal_that_is_held_back_is_told_and_the_second_hands_a_drain_over() -> None:
    told: list[str] = []
    with Interrupts(told.append) as interrupts:
        signal.raise_signal(signal.SIGTERM)
        assert told == ["SIGTERM"]
        with pytest.raises(HandedOverError), interrupts.handing_over():
            signal.raise_signal(signal.SIGINT)
        with interrupts.handing_over():
            pass
        signal.raise_signal(signal.SIGINT)
    assert told == ["SIGTERM", "Ctrl-C"]


def test_the_first_signal_in_a_drain_only_tells() -> None:
    told: list[str] = []
    with Interrupts(told.append) as interrupts, interrupts.handing_over():
        signal.raise_signal(signal.SIGINT)
    assert told == ["Ctrl-C"]


def test_what_cannot_be_told_is_no_error() -> None:
    def tell(_: str) -> None:
        raise RuntimeError("reentrant call inside a print")

    with Interrupts(tell):
        signal.raise_signal(signal.SIGINT)


def test_where_something_else_fails_in_what_is_done_whole_that_goes_first() -> None:
    def fail() -> None:
        with whole:
            signal.raise_signal(signal.SIGINT)
            raise KeyError

    with Interrupts(print) as interrupts:
        with pytest.raises(KeyError), interrupts.allowed():
            fail()
        with pytest.raises(InterruptedByUserError), interrupts.allowed():
            pass


class AtInstruction:
    """Sends a signal right before the instruction number `at` of ours that runs while it is entered."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __enter__(self) -> Self:
        sys.settrace(self._trace)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> object:
        if not any(part in frame.f_code.co_filename for part in ("/state/journal/", "/interrupts.py")):
            return None
        if "_handle" in frame.f_code.co_name or frame.f_code.co_name in {"due", "_error"}:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return self._trace


def test_after_a_signal_at_any_instruction_of_a_write_the_next_write_works(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for at in count(1):
        journal.remember("before", str(at))
        moment, interrupted = AtInstruction(at), False
        with Interrupts(print) as interrupts:
            try:
                with interrupts.allowed(), moment:
                    journal.remember("under way", str(at))
            except InterruptedByUserError:
                interrupted = True
        journal.remember("after", str(at))
        if moment.left > 0:
            assert at > 100
            break
        assert interrupted
    journal.close()
