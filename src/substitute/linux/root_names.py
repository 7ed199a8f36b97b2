"""What a root calls its own on a machine that it shares with others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from substitute.io.digest import sha256

if TYPE_CHECKING:
    from pathlib import Path


def prefix_of(root: Path) -> str:
    """``substitute-1a2b3c4d``: with the hash of the root's path, so that no two roots collide."""
    return f"substitute-{sha256(os.fsencode(root.resolve()))[:8]}"
