"""The control groups of systemd's units: the kernel tells what runs in each, even where systemd is silent."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.linux.processes import first_of, identify

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

_MOUNTED = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
"""Where systemd's hierarchy is: alone, or beside those of version 1."""
_OF_INIT = re.compile(r"^(?:0:|\d+:name=systemd):(.*?)(?:/init\.scope)?$", re.MULTILINE)


def main_process(place: str) -> Process | None:
    """The first process in the group `place`, which started the others, if any runs there."""
    return first_of(process for process in map(identify, _in(place)) if process)


def place_of(unit: str, slice_: str, *, user: bool) -> str:
    """The group of `unit`, which lies in `slice_`, of the system's manager or of this user's own."""
    words = slice_.removesuffix(".slice").split("-")
    slices = "/".join(f"{'-'.join(words[:end])}.slice" for end in range(1, len(words) + 1))
    uid = os.geteuid()
    manager = f"/user.slice/user-{uid}.slice/user@{uid}.service" if user else ""
    return f"{_root()}{manager}/{slices}/{unit}"


def _root() -> str:
    """Where the init has its groups: in a container they need not be at the top."""
    with suppress(OSError):
        if found := _OF_INIT.search(Path("/proc/1/cgroup").read_text(encoding="utf-8")):
            return found[1].rstrip("/")
    return ""


def _in(place: str) -> list[int]:
    for mounted in _MOUNTED:
        with suppress(OSError):
            text = Path(f"{mounted}{place}/cgroup.procs").read_text(encoding="ascii")
            if text:
                return [int(pid) for pid in text.split()]
    return []
