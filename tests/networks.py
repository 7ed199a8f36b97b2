"""A network that machines of tests and this one are plugged into, away from every network that is real."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.machines import Machine

_PATIENCE = 10.0


class Network:
    """A switch in a namespace of its own, with a cable to this machine. Needs root.

    On this machine it is one link and one address. All of it is gone with the process that made it, however that ends.
    """

    def __init__(self) -> None:
        self._switch: subprocess.Popen[bytes] | None = None
        self._number = 0

    def __enter__(self) -> Self:
        self._switch = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"],
            start_new_session=True,
        )
        try:
            self._await_namespace()
            self._on("link", "add", "switch", "type", "bridge")
            self._on("link", "set", "switch", "up")
            self._lay_cable_to_this_machine()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._number:  # the kernel removes a namespace in its own time, and with it the cable
            subprocess.run(["ip", "link", "delete", self._link], check=False, capture_output=True)
        if self._switch:
            self._switch.kill()
            self._switch.wait()

    @property
    def here(self) -> str:
        """This machine's address on it."""
        return self.address(1)

    def address(self, host: int) -> str:
        """The address of a machine, 1 to 254."""
        return f"10.214.{self._number}.{host}"

    def plug(self, machine: Machine, host: int) -> None:
        """Give a machine its eth0 with that address. It has to be plugged in again when it has booted again."""
        port = f"port{host}"
        self._on("link", "delete", port, check=False)  # where it was plugged in before
        # Always the same card: the others would go on asking for the old one.
        card = ["eth0", "address", f"02:00:00:00:00:{host:02x}", "netns", str(machine.init)]
        self._on("link", "add", port, "type", "veth", "peer", "name", *card)
        self._on("link", "set", port, "master", "switch", "up")
        machine.run("ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")

    def pull(self, host: int) -> None:
        """Cut the cable of a machine: what it says from now on is heard by nobody."""
        self._on("link", "set", f"port{host}", "down")

    @property
    def _link(self) -> str:
        return f"lan{self._number}"

    @property
    def _namespace(self) -> int:
        assert self._switch, "it was entered"
        return self._switch.pid

    def _await_namespace(self) -> None:
        own = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + _PATIENCE
        while Path(f"/proc/{self._namespace}/ns/net").readlink() == own:
            assert time.monotonic() < deadline, "no namespace for a network can be made"
            time.sleep(0.005)

    def _lay_cable_to_this_machine(self) -> None:
        """Take the first number whose link nobody has: two cannot make the same."""
        for number in sorted(range(1, 255), key=lambda one: (one - os.getpid()) % 255):
            cable = ["type", "veth", "peer", "name", "here", "netns", str(self._namespace)]
            made = subprocess.run(
                ["ip", "link", "add", f"lan{number}", *cable], check=False, capture_output=True, text=True
            )
            if made.returncode == 0:
                self._number = number
                break
            assert "exists" in made.stderr, made.stderr
        self._on("link", "set", "here", "master", "switch", "up")
        _run("ip", "address", "add", f"{self.here}/24", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")

    def _on(self, *argv: str, check: bool = True) -> None:
        _run("nsenter", "-t", str(self._namespace), "-n", "ip", *argv, check=check)


def _run(*argv: str, check: bool = True) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
