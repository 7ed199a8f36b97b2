"""What the kernel wrote of programs that it killed. systemd is not told of that by cgroup v1."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVICE = "/dev/kmsg"
_RECORD = 8192
"""Bytes: the kernel cuts no record shorter than this."""
_DRIFT = 60_000_000
"""Microseconds by which the clock of its log and that of the processes may have gone apart."""


def killed_for_memory(unit: str, since: int, until: int) -> bool:
    """Whether it killed a process of `unit` for want of memory, between two times of the monotonic clock (µs).

    False also where its log cannot be read, as most users can't.
    """
    mark = f"/{unit},task="
    return any(
        since - _DRIFT <= time <= until + _DRIFT and text.startswith("oom-kill:") and mark in text
        for time, text in _records()
    )


def _records() -> Iterator[tuple[int, str]]:
    with suppress(OSError):  # none is left (EAGAIN), or none can be read
        descriptor = os.open(_DEVICE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while True:
                with suppress(BrokenPipeError):  # the oldest were overwritten just now: the next is there
                    head, _, text = os.read(descriptor, _RECORD).decode(errors="replace").partition(";")
                    yield int(head.split(",")[2]), text
        finally:
            os.close(descriptor)
