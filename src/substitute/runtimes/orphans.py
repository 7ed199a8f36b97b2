"""Processes that no runtime keeps any more, ended by their identity."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Stopped
from substitute.core.polling import wait_while
from substitute.linux.processes import group_of, is_alive, name, signal_group, wait_for_end

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

_TICK = 0.005
_GLANCE = 0.1
"""Seconds between two looks at one that runs: a main thread may end long before its process does."""
_KILL_PATIENCE = 5.0


def wait_or_kill(called: str, process: Process, deadline: float, stop_signal: str) -> Stopped:
    """Wait until `process` and its group are gone; past `deadline` SIGKILL the group.

    What is left of the group once `process` is gone gets `stop_signal`: nobody else will tell it to end.
    Raises RuntimeFailedError where they can't be killed.
    """
    began = time.monotonic()
    told = False
    while time.monotonic() < deadline:
        if not is_alive(process):
            if not group_of(process):
                return Stopped(killed=False, seconds=time.monotonic() - began)
            if not told:
                told = signal_group(process, signal.Signals[stop_signal])
            time.sleep(_TICK)
        else:
            wait_for_end(process, min(_GLANCE, deadline - time.monotonic()))
    stayed = _left_by(process) if told else ""
    killed = signal_group(process, signal.SIGKILL)
    if wait_while(lambda: is_alive(process) or group_of(process), _KILL_PATIENCE, _TICK):
        raise RuntimeFailedError(f"{called} (pid {process.pid}) cannot be killed.")
    return Stopped(killed=killed, seconds=time.monotonic() - began, stayed=stayed)


def _left_by(process: Process) -> str:
    """The members of its group that still run, by name, where `process` itself does not; else empty."""
    if is_alive(process):
        return ""
    return ", ".join(f"{name(pid)} (pid {pid})" for pid in sorted(group_of(process)))
