"""Names in places that roots share: the kernel's tables, systemd's units, a crontab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.io.digest import sha256

if TYPE_CHECKING:
    from pathlib import Path


def root_hash(root: Path) -> str:
    """Eight hexadecimal digits of the root's real path, which no other root has."""
    return sha256(str(root.resolve()).encode())[:8]
