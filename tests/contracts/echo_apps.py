"""The instances that tests of balancers start: processes of ``echo_app.py``, all forked off by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.linux.processes import identify, is_alive, signal_process
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint

_APP = Path(__file__).with_name("echo_app.py")


@dataclass(frozen=True)
class Instance:
    """One process."""

    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return is_alive(self.process)

    def end(self, number: int) -> None:
        """Send it that signal, and wait until it is gone; it may be so already."""
        signal_process(self.process, number)
        eventually(lambda: not self.is_alive(), f"{self.pid} is gone")


def instances(wanted: Mapping[str, Endpoint], *within: str) -> list[Instance]:
    """Start one for each name, and return when all of them listen. A command put before runs them elsewhere."""
    parent = _parent(os.getpid(), *within)
    assert parent.stdin
    assert parent.stdout
    waits = "WAITS" in os.environ
    for name, endpoint in wanted.items():
        parent.stdin.write(json.dumps([name, endpoint.port, endpoint.host, waits]) + "\n")
    parent.stdin.flush()
    told = dict(parent.stdout.readline().split() for _ in wanted)
    found = {name: identify(int(told[name])) for name in wanted}
    for name, process in found.items():
        assert process, f"{name} cannot listen on {wanted[name]}"
    return [Instance(process) for process in found.values() if process]


@cache
def _parent(_pid: int, *within: str) -> subprocess.Popen[str]:
    """The process that forks them, one for each process that asks; it ends with it."""
    command = [*within, sys.executable, "-S", "-E", str(_APP)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
