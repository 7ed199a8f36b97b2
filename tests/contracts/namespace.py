"""A second machine, as far as the network knows: a namespace with a cable to this one."""

from __future__ import annotations

import itertools
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count()


@dataclass(frozen=True)
class Machine:
    """The other machine."""

    name: str
    here: str
    """This machine's address on the cable."""
    there: str
    """The other's."""
    more: tuple[str, ...] = ()
    """Further ones that it has."""

    def command(self, *argv: str) -> list[str]:
        """What runs `argv` there."""
        return ["ip", "netns", "exec", self.name, *argv]


@contextmanager
def second_machine(more: int = 0) -> Iterator[Machine]:
    """A namespace, gone afterwards, with so many `more` addresses. Needs root."""
    own = f"{os.getpid()}x{next(_numbers)}"
    here, there, *others = (f"10.213.{os.getpid() % 250}.{number}" for number in range(1, 3 + more))
    machine = Machine(f"substitute{own}", here, there, tuple(others))
    cable = f"sub{own}"
    run("ip", "netns", "add", machine.name)
    try:
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        run("ip", "addr", "add", f"{machine.here}/28", "dev", cable)
        run("ip", "link", "set", cable, "up")
        for address in (machine.there, *machine.more):
            run("ip", "-n", machine.name, "addr", "add", f"{address}/28", "dev", "eth0")
        run("ip", "-n", machine.name, "link", "set", "eth0", "up")
        run("ip", "-n", machine.name, "link", "set", "lo", "up")
        yield machine
    finally:
        # A process that is still there would keep the cable.
        subprocess.run(["ip", "link", "delete", cable], check=False, capture_output=True)
        run("ip", "netns", "delete", machine.name)


def run(*argv: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(argv, check=True, capture_output=True)
