"""A second machine, as far as the network knows: a namespace with a cable to this one."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Machine:
    """The other machine."""

    name: str
    here: str
    """This machine's address on the cable."""
    there: str
    """The other's."""

    def command(self, *argv: str) -> list[str]:
        """What runs `argv` there."""
        return ["ip", "netns", "exec", self.name, *argv]


@contextmanager
def second_machine() -> Iterator[Machine]:
    """A namespace, gone afterwards. Needs root."""
    number = os.getpid() % 250
    machine = Machine(f"substitute{os.getpid()}", f"10.213.{number}.1", f"10.213.{number}.2")
    cable = f"sub{os.getpid()}"
    run("ip", "netns", "add", machine.name)
    try:
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        run("ip", "addr", "add", f"{machine.here}/30", "dev", cable)
        run("ip", "link", "set", cable, "up")
        run("ip", "-n", machine.name, "addr", "add", f"{machine.there}/30", "dev", "eth0")
        run("ip", "-n", machine.name, "link", "set", "eth0", "up")
        run("ip", "-n", machine.name, "link", "set", "lo", "up")
        yield machine
    finally:
        run("ip", "netns", "delete", machine.name)  # the cable goes with it


def run(*argv: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(argv, check=True, capture_output=True)
