"""How the main process of a unit ended, in words."""

from __future__ import annotations

from signal import SIGKILL, Signals
from typing import TYPE_CHECKING

from substitute.core.polling import wait_until
from substitute.runtimes.systemd.kernel_log import killed_for_memory

if TYPE_CHECKING:
    from substitute.runtimes.systemd.bus import Bus

_PATIENCE, _TICK = 1.0, 0.002
_EXITED = 1
"""CLD_EXITED: the status is one that it exited with, else it is a signal."""
_NOT_STARTED = {
    200: "its directory cannot be entered",
    203: "it cannot be executed",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "its sandbox cannot be set up",
    228: "its sandbox cannot be set up",
}
"""Statuses by which systemd says that it did not come to the program."""


def ending(bus: Bus, unit: str) -> str:
    """How it last ended; empty where systemd knows of no end. Raises as the bus does."""
    known = bus.properties(unit, "Service")
    code, status, result = known["ExecMainCode"], known["ExecMainStatus"], known["Result"]
    if not code:
        return ""
    if result == "oom-kill" or (
        code != _EXITED
        and status == SIGKILL
        and killed_for_memory(
            unit, known["ExecMainStartTimestampMonotonic"], known["ExecMainExitTimestampMonotonic"]
        )
    ):
        return "out of memory (SIGKILL by the kernel)"
    how = f"exit status {status}" if code == _EXITED else Signals(status).name
    why = _NOT_STARTED.get(status) if code == _EXITED else None
    if result == "start-limit-hit":
        why = "too often: it is not started again"
    return f"{how} ({why})" if why else how


def known_ending(bus: Bus, unit: str) -> str:
    """As `ending`, but waits for it: while systemd restarts a unit, it reports no end."""
    return wait_until(lambda: ending(bus, unit), _PATIENCE, _TICK) or "unknown"
