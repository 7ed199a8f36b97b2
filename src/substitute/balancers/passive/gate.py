"""The root's nftables table, worked on through ``nft``: one call is one transaction of the kernel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.balancers.passive.rules import leading, led, reached, refusing, removal
from substitute.core.model.errors import UnmovedError
from substitute.linux import connections
from substitute.linux.conntrack import forget_led
from substitute.linux.subprocesses import capture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.balancers.passive.rules import Json, Passage
    from substitute.core.model.slots import Endpoint

_TIMEOUT = 20.0
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DENIED = ("operation not permitted", "permission denied", "must be root")


class UnavailableError(UnmovedError):
    """There can be no gate here: no ``nft``, no privilege, or a kernel without nftables."""


class Gate:
    """One table of the kernel's packet filter. Other tables are never touched."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._is_there = False
        """It is known to be, or what the kernel remembers of an earlier one is forgotten."""

    def set(self, passages: Sequence[Passage]) -> bool:
        """Make new connections take `passages` from now on; False where they can only be refused.

        Established connections stay where they are. Raises UnavailableError.
        """
        if not self._is_there and self._listing() is None:
            forget_led({passage.endpoint.port for passage in passages})
        self._is_there = True
        room = _clients_leave_room()
        attempts = [
            (leading(self.name, passages, flip_ports=room), True),
            # An nft that can't compute a port (before 1.0).
            (leading(self.name, passages, flip_ports=False), True),
            (refusing(self.name, passages), False),
        ]
        for commands, leads in attempts:
            refused = self._run(commands)
            if not refused:
                return leads
        raise UnavailableError(
            "The kernel refused the packet filter rules that redirect connections.", fact=refused
        )

    def read(self) -> dict[Endpoint, Endpoint | None] | None:
        """Where new connections to each endpoint arrive (None: refused); None where there is no table."""
        listing = self._listing()
        return None if listing is None else reached(listing)

    def led(self) -> int | None:
        """How many connections it has led elsewhere since it was set; None where there is no table."""
        listing = self._listing()
        return None if listing is None else led(listing)

    def holds(self, endpoints: Iterable[Endpoint]) -> bool:
        """Whether an instance at `endpoints` still has a connection that was led to it: without the table it breaks."""
        return connections.led_to(endpoints, flipped=_clients_leave_room())

    def _listing(self) -> Json | None:
        program = _program()
        if program is None:
            return None
        listed = capture([program, "-j", "list", "table", "inet", self.name], timeout=_TIMEOUT)
        return json.loads(listed.out) if listed.status == 0 else None

    def remove(self) -> None:
        """Leave nothing of it. No error where it is not there, or where there can't be one."""
        self._is_there = False
        if _program() and (refused := self._run(removal(self.name))):
            raise UnmovedError(f"The table {self.name} could not be removed.", fact=refused)

    def _run(self, commands: list[Json]) -> str:
        """Why the transaction was refused, or empty. Raises UnavailableError where any would be."""
        program = _program()
        if program is None:
            raise UnavailableError("`nft` is not installed.", cure="Install it: `apt install nftables`.")
        ended = capture(
            [program, "-j", "-f", "-"], given=json.dumps({"nftables": commands}), timeout=_TIMEOUT
        )
        if ended.status == 0 and not ended.timed_out:
            return ""
        said = (ended.err or ended.out).strip().splitlines()
        why = "no answer" if ended.timed_out else said[0] if said else f"exit status {ended.status}"
        if any(words in why.lower() for words in _DENIED):
            raise UnavailableError(
                "This user may not change the packet filter.",
                fact=why,
                cure="Run substitute as root, or give it CAP_NET_ADMIN.",
            )
        return why


def _program() -> str | None:
    return shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin:/usr/local/sbin")


def _clients_leave_room() -> bool:
    """Whether the ports that this machine gives to clients, with one bit flipped, are none that it gives."""
    try:
        lowest = int(_PORT_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return True
    return lowest >= 0x8000
