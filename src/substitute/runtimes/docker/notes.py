"""What has to be known of a container where dockerd does not tell: its id, and whether it was told to stop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process
from substitute.io.files import write_atomically
from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

_NOTED = re.compile(r"([0-9a-f]{64})(?: (\d+) (\d+) (\S+))?\n")


@dataclass(frozen=True)
class Note:
    """One of a root's own directory, which nobody but its owner can write."""

    container: str
    told: Process | None = None
    """The main process that has got its stop signal: dockerd does not say, and many programs break off when they get it
    twice."""


def read(file: Path) -> Note | None:
    """The note in `file`, if one is there. A container that is gone since has none of its processes."""
    try:
        found = _NOTED.fullmatch(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    if found is None:
        return None
    return Note(found[1], Process(int(found[2]), int(found[3]), found[4]) if found[2] else None)


def write(file: Path, note: Note) -> None:
    """Put `note` in the place of the one before."""
    told = f" {note.told.pid} {note.told.start_time} {note.told.boot_id}" if note.told else ""
    write_atomically(file, f"{note.container}{told}\n")
