"""Conditions are waited for, never seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(
    reached: Callable[[], object], what: str = "it did not come to that", *, patience: float = 60.0
) -> None:
    """Wait until `reached` is true; `what` says what was waited for."""
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline, f"not within {patience:g}s: {what}"
        time.sleep(0.005)
