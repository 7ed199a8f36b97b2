"""Names in places that roots share: the kernel's tables, systemd's units, a crontab, containers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from substitute.io.digest import sha256

if TYPE_CHECKING:
    from pathlib import Path


def root_hash(root: Path) -> str:
    """Eight hexadecimal digits of the root's real path, which no other root has."""
    return sha256(os.fsencode(root.resolve()))[:8]


def prefix_of(root: Path) -> str:
    """``substitute-1a2b3c4d``: what begins with it belongs to the root."""
    return f"substitute-{root_hash(root)}"
