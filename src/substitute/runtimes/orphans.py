"""Processes that no runtime keeps any more, ended by their identity."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from substitute.core.errors import RuntimeFailedError
from substitute.processes import group_of, is_alive, signal_group

if TYPE_CHECKING:
    from substitute.core.ports import Process

_TICK = 0.005
_KILL_PATIENCE = 5.0


def wait_or_kill(name: str, process: Process, deadline: float) -> bool:
    """Wait until `process` and its group are gone; past `deadline` SIGKILL the group. True if that was needed.

    What is left of the group once `process` is gone gets SIGTERM: nobody else will tell it to end.
    Raises RuntimeFailedError where they can't be killed.
    """
    told = False
    while time.monotonic() < deadline:
        if not is_alive(process):
            if not group_of(process):
                return False
            if not told:
                told = signal_group(process, signal.SIGTERM)
        time.sleep(_TICK)
    killed = signal_group(process, signal.SIGKILL)
    last = time.monotonic() + _KILL_PATIENCE
    while is_alive(process) or group_of(process):
        if time.monotonic() > last:
            raise RuntimeFailedError(f"{name} (pid {process.pid}) cannot be killed.")
        time.sleep(_TICK)
    return killed
