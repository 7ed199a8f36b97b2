"""Lines of text, from whatever bytes a program writes."""

from __future__ import annotations

import codecs
import io
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TAIL = 20
"""Lines of output that are kept for an error message."""
_LINE = 8192
"""Characters after which a line is cut in two, so that no output can fill the memory."""


class Lines:
    """Cuts what a program writes into lines, and keeps the last in `tail`.

    A carriage return ends a line too, undecodable bytes are replaced, and a very long line comes in parts.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self._on_line = on_line
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take the next bytes; whole lines are given away at once."""
        *lines, rest = (self._rest + self._decoder.decode(data, final)).split("\n")
        self._rest = ""  # before the lines are given away: `on_line` may raise
        for line in lines:
            self._give(line)
        whole = max(len(rest) - 1, 0) // _LINE * _LINE  # a break may yet come right behind the last part
        self._rest = rest[whole:]
        if whole:
            self._give(rest[:whole])

    def close(self) -> None:
        """Give away what no line end came after."""
        self.feed(b"", final=True)
        if self._rest:
            self._give(self._rest)

    def _give(self, line: str) -> None:
        for start in range(0, max(1, len(line)), _LINE):
            part = line[start : start + _LINE]
            self.tail.append(part)
            self._on_line(part)
