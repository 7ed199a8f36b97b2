"""How the main process of a container ended, in words."""

from __future__ import annotations

from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_SIGNAL = 128
"""Docker tells a signal as a shell does."""
_NEVER = "0001-"
"""Its year one: it was never started."""


def ending(state: Mapping[str, Any]) -> str:
    """How it last ended, by its `State`; empty while it runs, and of one that never did."""
    if (state["Running"] and not state["Restarting"]) or state["StartedAt"].startswith(_NEVER):
        return ""
    status = state["ExitCode"]
    try:
        by = Signals(status - _BY_SIGNAL)
    except ValueError:
        return f"exit status {status}"
    if by is SIGKILL and state["OOMKilled"]:
        return "out of memory (SIGKILL by the kernel)"
    return by.name
