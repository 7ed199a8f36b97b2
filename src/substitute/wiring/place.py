"""Where a root is, as it can be known again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from substitute.core.state.ownership import Place


def place_of(root: Path) -> Place:
    """The directory itself, and the machine."""
    seen = root.stat()
    return Place(str(root.resolve()), seen.st_dev, seen.st_ino, _machine())


def _machine() -> str | None:
    with suppress(OSError):
        return Path("/etc/machine-id").read_text(encoding="utf-8", errors="replace").strip() or None
    return None
