"""Names in places that roots share: the kernel's tables, systemd's units, a crontab."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def root_hash(root: Path) -> str:
    """Eight hexadecimal digits of the root's real path, which no other root has."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
