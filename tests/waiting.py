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
    began = time.monotonic()
    deadline = began + patience
    while not reached():
        looked = time.monotonic()
        assert looked < deadline, f"not within {patience:g}s: {what}"
        # To look may be work: what is waited for gets more of the processor.
        time.sleep(max(0.01, 2 * (looked - began)))
        began = time.monotonic()
