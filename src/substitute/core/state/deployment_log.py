"""Each deployment's log: what the screen showed, kept in the app's log directory."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from substitute.core.excerpt import Shown
from substitute.core.model.events import (
    Checked,
    Compared,
    Event,
    Failed,
    Held,
    Interrupted,
    Judged,
    Notice,
    Output,
    PhaseFinished,
    PhaseStarted,
    Replayed,
    Resolved,
    Stepped,
    Succeeded,
    Unchanged,
    Warned,
)
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from substitute.core.model.apps import App

_KEPT = 50


def path_of(app: App, deployment: int) -> Path:
    """Where the log of that deployment is, or was."""
    return app.log_directory / f"deployment-{deployment}.log"


class Transcript:
    """A text file ``deployment-N.log``; the oldest beyond fifty are removed."""

    def __init__(self, app: App, deployment: int) -> None:
        app.log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path_of(app, deployment)
        remove_old(app.log_directory, "deployment", _KEPT - 1)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", buffering=1)
        self._shown = Shown()

    def __call__(self, event: Event) -> None:
        """Write a line for `event`. A full disk costs the log, not the deployment."""
        if isinstance(event, Output):
            self._shown.add(event.line)
        if isinstance(event, Failed | Interrupted):
            event = replace(event, reason=self._shown.without(event.reason))
        try:
            self._file.write(f"{time.strftime('%H:%M:%S')} {_text(event)}\n")
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError:
            return


def remove_old(directory: Path, kind: str, kept: int, *, spared: Collection[int] = ()) -> None:
    """Leave the newest ones of this app's, whose numbers have gaps: all apps of a root count together."""
    found = [re.fullmatch(rf"{kind}-(\d+)\.log", file.name) for file in directory.iterdir()]
    for number in sorted((int(one[1]) for one in found if one), reverse=True)[kept:]:
        if number not in spared:
            (directory / f"{kind}-{number}.log").unlink(missing_ok=True)


def _text(event: Event) -> str:
    match event:
        case PhaseStarted():
            text = f"== {event.phase} (slot {event.slot})"
        case PhaseFinished():
            text = f"== {event.phase} took {event.seconds:.3f}s"
        case Output():
            text = f"   {event.line}"
        case Resolved():
            text = (
                f"== {event.operation} {event.commit} ({event.how}) into slot {event.slot}: {event.subject}"
            )
        case Notice() | Warned() | Checked() | Replayed() | Judged():
            text = f"-- {event.message}"
        case Failed() | Interrupted():
            text = f"== {event.event} in {event.phase or 'begin'}: {event.reason}"
        case Succeeded():
            text = f"== succeeded: {event.commit} is live in slot {event.live}"
        case _:
            text = _of_a_canary(event)
    return text


def _of_a_canary(event: Event) -> str:
    """A line for what is held, or meets its first clients."""
    match event:
        case Stepped():
            text = f"== {event.share} % of the clients for {event.seconds:g}s"
        case Compared():
            sides = {"new": event.candidate, "live": event.live}
            told = (f"{name} failed {one.failures} of {one.requests}" for name, one in sides.items())
            text = f"-- {event.share} %: {', '.join(told)}"
        case Held():  # who has its token can see it
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.until))
            text = f"== held: {event.commit} in slot {event.slot} until {until}"
        case Unchanged():
            text = f"== unchanged: {event.commit} is live in slot {event.live} already"
        case _:
            text = f"-- {getattr(event, 'message', event.event)}"
    return text
