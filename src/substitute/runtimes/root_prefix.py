"""What belongs to a root is called after, where a whole machine shares the names."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def prefix_of(root: Path) -> str:
    """``substitute-1a2b3c4d``: with the hash of its path, so that no two roots collide."""
    return f"substitute-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]}"
