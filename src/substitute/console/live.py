"""Events on a terminal: the phase under way with its running time, everything else above it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.text import Text

from substitute.console.screen import Screen
from substitute.console.text import seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from substitute.console.stream import Stream

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_ASCII = "|/-\\"


class LiveScreen(Screen):
    """Redraws one line, ten times a second, while a phase runs."""

    def __init__(self, out: Stream) -> None:
        super().__init__(out)
        coloured = {} if out.is_coloured else {"color_system": None}
        self._rich = RichConsole(
            file=cast("TextIO", out),
            force_terminal=True,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ={key: value for key, value in os.environ.items() if key in {"TERM", "COLORTERM"}},
            **coloured,  # type: ignore[arg-type]
        )
        self._unicode = out.encoding.lower().startswith("utf")
        self.arrow = "→" if self._unicode else "->"
        self._live: Live | None = None
        self._phase = ""

    def say(self, text: str, style: str) -> None:
        """Print one line above the running one."""
        self._rich.print(Text(text, style=style), soft_wrap=True)

    def begin(self, phase: str) -> None:
        """Show `phase` with its running time."""
        self._phase = phase
        self._stop()
        running = _Running(phase, _FRAMES if self._unicode else _FRAMES_ASCII)
        self._live = Live(
            running,
            console=self._rich,
            transient=True,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def end(self, phase: str, took: float) -> None:
        """Replace the running line by how long it took."""
        self._stop()
        self._phase = ""
        mark = "✓" if self._unicode else "+"
        line = Text.assemble((mark, "green"), f" {phase:<8}", (f"{seconds(took):>9}", "cyan"))
        self._rich.print(line, soft_wrap=True)

    def give_up(self) -> None:
        """Mark the phase that was under way."""
        self._stop()
        if self._phase:
            self._rich.print(Text(f"{'✗' if self._unicode else 'x'} {self._phase}", style="red"))
        self._phase = ""

    def close(self) -> None:
        """Remove the running line and show the cursor again."""
        self._stop()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


class WatchScreen(LiveScreen):
    """A live screen with something below the running phase, which stays from phase to phase."""

    def __init__(self, out: Stream, footer: RenderableType) -> None:
        super().__init__(out)
        self._footer = footer
        self._running: _Running | None = None
        self._whole = Live(
            self,
            console=self._rich,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._whole.start()

    def __rich__(self) -> Group:
        """What is drawn now."""
        return Group(self._running, self._footer) if self._running else Group(self._footer)

    def begin(self, phase: str) -> None:
        """Show `phase` with its running time, above the footer."""
        self._phase = phase
        self._running = _Running(phase, _FRAMES if self._unicode else _FRAMES_ASCII)

    def close(self) -> None:
        """Remove everything that moves."""
        self._stop()
        self._whole.stop()

    def _stop(self) -> None:
        self._running = None


class _Running:
    """A phase and the time that it has taken so far, whenever it is drawn."""

    def __init__(self, phase: str, frames: str) -> None:
        self._phase = phase
        self._frames = frames
        self._began = time.monotonic()

    def __rich__(self) -> Text:
        took = time.monotonic() - self._began
        frame = self._frames[int(took * 10) % len(self._frames)]
        shown = f"{took:>7.1f} s" if took < 60 else f"{seconds(took):>9}"
        return Text.assemble((frame, "cyan"), f" {self._phase:<8}", (shown, "dim"))
