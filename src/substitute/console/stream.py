"""An output stream that cannot hurt: its reader may go away at any time."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Stream:
    """Text output that swallows every writing error; after the first it is silent.

    It is a file to those that want one (rich), so that theirs are swallowed too.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Wrap `stream`; None (a closed descriptor) swallows everything."""
        self._stream = stream
        self.failure = ""
        """Why not all of the text could be written, where that is not since its reader went away."""
        with suppress(AttributeError, OSError, ValueError):
            # An ASCII locale must not turn a commit's subject into an exception.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        self._do(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Let what was written arrive, or drop it."""
        self._do(lambda stream: stream.flush())

    def line(self, text: str = "") -> None:
        """Write a line and let it arrive at once."""
        self.write(f"{text}\n")
        self.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal of any kind."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Its descriptor. Raises OSError where there is none."""
        if self._stream is None:
            raise OSError("closed")
        return self._stream.fileno()

    def is_same(self, other: Stream) -> bool:
        """Whether who reads the one reads the other as well: one terminal, one file, one pipe."""
        try:
            mine, theirs = os.fstat(self.fileno()), os.fstat(other.fileno())
        except (OSError, ValueError, AttributeError):
            return False
        return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)

    @property
    def encoding(self) -> str:
        """As ``utf-8``."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def is_terminal(self) -> bool:
        """Whether it is a terminal that can move its cursor."""
        return self.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}

    @property
    def is_coloured(self) -> bool:
        """Whether colours are welcome; see https://no-color.org."""
        return self.is_terminal and not os.environ.get("NO_COLOR")

    def _do(self, act: Callable[[TextIO], object]) -> None:
        if self._stream is None:
            return
        try:
            act(self._stream)
        except (
            BlockingIOError
        ) as error:  # a full pipe that does not block: this is lost, the next may get through
            self.failure = error.strerror or str(error)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                self.failure = error.strerror or str(error)
            self._give_up()

    def _give_up(self) -> None:
        stream, self._stream = self._stream, None
        with suppress(AttributeError, OSError, ValueError):
            # What the interpreter still flushes at its exit goes where nothing can complain.
            void = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(void, stream.fileno())  # type: ignore[union-attr]
            os.close(void)


def paint_for(stream: Stream) -> Callable[[str, str], str]:
    """Return the function that gives text a style, where `stream` shows one."""
    if not stream.is_coloured:
        return lambda text, _style: text
    return lambda text, style: f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style in _STYLES else text


def marks_for(stream: Stream) -> tuple[str, str, str]:
    """Return the marks for good, bad and neither that `stream` can show."""
    return ("✓", "✗", "-") if stream.encoding.lower().startswith("utf") else ("+", "x", "-")
