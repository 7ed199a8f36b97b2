"""The same done to several things at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], things: Sequence[T], at_once: int) -> Sequence[R | None]:
    """Do `work`, which does not raise, to each of `things`, to so many `at_once`; what came of each, in their order.

    Whoever is interrupted meanwhile does not wait: no more is begun.
    """
    import threading  # noqa: PLC0415  # few need it

    found: list[R | None] = [None] * len(things)
    numbers = iter(range(len(things)))  # its `next` is atomic
    over = threading.Event()

    def go_on() -> None:
        for number in numbers:
            if over.is_set():
                return
            found[number] = work(things[number])

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(min(at_once, len(things)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        over.set()
    return found
