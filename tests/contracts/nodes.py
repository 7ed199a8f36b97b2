"""Machines of a cluster, as far as the network knows: addresses of one namespace, which may go without a word."""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server
from tests.contracts.echo_apps import Instance, instances
from tests.contracts.namespace import second_machine
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.contracts.namespace import Machine

COUNT = 3
_RULES = """\
table inet nodes {
    set failed { type ipv4_addr; }
    set closed { type ipv4_addr . inet_service; }
    chain arriving {
        type filter hook input priority 0;
        ip daddr @failed drop
        tcp flags & (syn | ack) == syn ip daddr . tcp dport @closed drop
    }
    chain leaving {
        type filter hook output priority 0;
        ip saddr @failed drop
    }
}
"""


class Nodes:
    """Three of them. A slot has one port, which is the same on each."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.addresses = (machine.there, *machine.more)
        self._instances: dict[str, Instance] = {}
        self.renew()

    def renew(self) -> None:
        """All are there, and nothing runs on them."""
        for name in list(self._instances):
            self.stop(name)
        self._nft("flush ruleset\n" + _RULES)
        self.ports = {slot: free_port() for slot in SlotName}

    def endpoint(self, name: str) -> Endpoint:
        """Of ``a0``: slot a, on the first node."""
        return Endpoint(self.addresses[int(name[1])], self.ports[SlotName(name[0])])

    def start(self, *names: str) -> None:
        """Instances that answer these names."""
        wanted = {name: self.endpoint(name) for name in names}
        found = instances(wanted, *self._machine.command())
        self._instances |= zip(wanted, found, strict=True)

    def start_all(self) -> None:
        """Both slots, on every node."""
        self.start(*(f"{slot}{number}" for slot in SlotName for number in range(COUNT)))

    def stop(self, name: str) -> None:
        """From now on connections are refused there."""
        self._instances.pop(name).end(signal.SIGKILL)

    def fail(self, number: int) -> None:
        """Nothing arrives there any more, and nothing leaves."""
        self._nft(f"add element inet nodes failed {{ {self.addresses[number]} }}")

    def close(self, name: str) -> None:
        """A new connection there is answered by nothing; those that are open stay."""
        endpoint = self.endpoint(name)
        self._nft(f"add element inet nodes closed {{ {endpoint.host} . {endpoint.port} }}")

    def open(self, name: str) -> None:
        """New connections are answered again."""
        endpoint = self.endpoint(name)
        self._nft(f"delete element inet nodes closed {{ {endpoint.host} . {endpoint.port} }}")

    def shop(self, a: int, b: int) -> Backend:
        """The app with these shares."""
        return Backend("shop", (), (*self._servers(SlotName.A, a), *self._servers(SlotName.B, b)))

    def _servers(self, slot: SlotName, share: int) -> Sequence[Server]:
        names = [f"{slot}{number}" for number in range(COUNT)]
        return [Server(slot, self.endpoint(name), share, checked=True) for name in names]

    def _nft(self, text: str) -> None:
        command = self._machine.command("nft", "-f", "-")
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)


@contextmanager
def nodes() -> Iterator[Nodes]:
    """Gone afterwards. Needs root."""
    with second_machine(more=COUNT - 1) as machine:
        made = Nodes(machine)
        try:
            yield made
        finally:
            made.renew()
