"""What asks again until a deadline asks at once, and once more when the time is over."""

from __future__ import annotations

import pytest

from substitute.core.polling import wait_until, wait_while
from tests.unit.fakes.clock import FakeClock


def test_the_first_true_answer_ends_the_wait() -> None:
    answers, clock = iter(["", "", "so", "never asked for"]), FakeClock()
    began = clock.monotonic()
    assert wait_until(lambda: next(answers), 10, 1, clock=clock) == "so"
    assert clock.monotonic() == began + 2


def test_the_first_false_answer_ends_the_wait() -> None:
    left, clock = [1, 2, 3], FakeClock()
    assert not wait_while(lambda: left and left.pop(), 10, 1, clock=clock)
    assert clock.monotonic() > 0


@pytest.mark.parametrize(("seconds", "looks"), [(0, [0]), (2, [0, 1, 2]), (2.5, [0, 1, 2, 3])])
def test_it_looks_at_once_and_a_last_time_at_the_deadline(seconds: float, looks: list[float]) -> None:
    for wait, answer in ((wait_until, ()), (wait_while, ("left",))):
        clock, seen = FakeClock(), []
        began = clock.monotonic()

        def look() -> tuple[str, ...]:
            seen.append(clock.monotonic() - began)  # noqa: B023
            return answer  # noqa: B023

        assert wait(look, seconds, 1, clock=clock) == answer
        assert seen == looks


def test_what_a_look_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, 10, 1, clock=FakeClock())
