"""The file in a slot that says which archive it holds, and what the app has written beside that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.io.files import read_regular, write_atomically
from substitute.sources.archive.entries import MARKER
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LONG = 1 << 28
"""Bytes that the marker may have: it lists all files."""


@dataclass(frozen=True)
class Held:
    """What a slot holds."""

    commit: str | None
    """The archive's; None in the middle of an update."""
    files: frozenset[str]
    """Those of the archive."""
    written: frozenset[str]
    """What the app had written when that was last noted."""
    since: int
    """When all was made by archives and builds, in nanoseconds; 0 where nobody has noted it."""


def held(directory: Path) -> Held:
    """Read it. The caller acts as the slot's user. Raises OSError where there is none."""
    file = directory / MARKER
    try:
        known = json.loads(read_regular(file, limit=_LONG))
        since = file.stat().st_ctime_ns if known.get("built") else 0
        return Held(known["commit"], frozenset(known["files"]), frozenset(known.get("written", ())), since)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OSError(0, "it is not as it was written", str(file)) from error


def note(
    directory: Path, commit: str | None, files: Iterable[str], written: Iterable[str], *, built: bool = False
) -> None:
    """Write it; with `built` from now on whatever changes is the app's doing."""
    known = {"commit": commit, "files": sorted(files), "written": sorted(written), "built": built}
    write_atomically(directory / MARKER, json.dumps(known), mode=0o644)
