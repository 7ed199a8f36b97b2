"""How much of what programs write is shown: not thousands of lines, and none of them twice."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST, LAST = 40, 10
"""Lines that are shown of what an instance writes while it starts."""
_REMEMBERED = 100
_QUOTE = "  | "


@contextmanager
def excerpt(show: Callable[[str], None], *, rest: str) -> Iterator[Callable[[str], None]]:
    """Take lines and give `show` the first at once and the last at the end; `rest` says where the others are."""
    taken, last, ended = 0, deque[str](maxlen=LAST), False

    def take(line: str) -> None:
        nonlocal taken
        taken += 1
        if ended:
            return
        if taken <= _FIRST:
            show(line)
        else:
            last.append(line)

    try:
        yield take
    finally:
        ended = True
        if left_out := taken - _FIRST - len(last) if last else 0:
            show(f"... {left_out} lines are not shown here: {rest}")
        for line in last:
            show(line)


class Shown:
    """The lines of programs that were shown last, for an error that comes after them."""

    def __init__(self) -> None:
        self._lines = deque[str](maxlen=_REMEMBERED)

    def add(self, line: str) -> None:
        """Remember a line that was shown."""
        self._lines.append(line)

    def without(self, text: str) -> str:
        """`text` without the lines that it quotes, where these were shown already, one after the other."""
        lines = text.splitlines()
        told = [line.removeprefix(_QUOTE) for line in lines if line.startswith(_QUOTE)]
        known = list(self._lines)
        if not any(known[at : at + len(told)] == told for at in range(len(known) - len(told) + 1)):
            return text
        return "\n".join(line for line in lines if not line.startswith(_QUOTE))
