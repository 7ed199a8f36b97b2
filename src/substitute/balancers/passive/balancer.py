"""The user's own balancer, which lists both slots of an app and is never touched: the kernel makes it obey."""

from __future__ import annotations

import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from substitute.balancers.passive.gate import Gate, UnavailableError
from substitute.balancers.passive.rules import passages, table_name
from substitute.balancers.users_own import UsersOwn
from substitute.core.model.errors import UnmovedError
from substitute.core.ports.balancer import Traffic
from substitute.linux import connections, listeners
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.passive.rules import Passage
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.runtime import Runtime

_MARGIN = 1.0
"""Seconds beyond `fail_timeout`: nginx counts it in whole seconds."""
_CURE = "See docs/balancers.md, or take another balancer.kind in substitute.toml."
_WITHOUT_GATE = (
    "Without it your balancer sends requests to the new version as soon as that listens. Requests that the old version "
    "has not accepted yet when it gets SIGTERM are lost."
)
_WITHOUT_NAT = (
    "This kernel cannot redirect connections (its nftables has no NAT). So the port that is not live refuses them, and "
    "each switch waits for the balancer's fail_timeout. Some requests that take seconds may fail meanwhile."
)

_STILL_USED = (
    "Some connections still arrive through the gate, the packet filter rules of the earlier balancer.kind `passive`. "
    "So the gate stays. Point the balancer that lists both ports of an app to the new address. The next deployment "
    "during which nobody uses the gate removes it."
)


class Means(Enum):
    """How traffic moves, since substitute cannot configure the balancer."""

    LEADING = "leading"
    REFUSING = "refusing"
    NONE = "none"


class Configured(Protocol):
    """The table ``[balancer]``."""

    @property
    def gate(self) -> str: ...  # noqa: D102
    @property
    def fail_timeout(self) -> float: ...  # noqa: D102


def connect(root: Path, runtime: Runtime, settings: Configured, warn: Callable[[str], None]) -> Passive:
    """Make the balancer of `root`."""
    del runtime
    return Passive(root, settings, warn)


class Passive(UsersOwn):
    """See `core.ports.balancer.Balancer`. What can't be promised here is told, once a command."""

    def __init__(self, root: Path, settings: Configured, warn: Callable[[str], None]) -> None:
        self._gate = Gate(table_name(root))
        self._settings = settings
        self._warn = warn
        self._warned = False
        self._means: Means | None = None
        self._reached: dict[Endpoint, Endpoint | None] = {}
        """What this process has set; what another one did is read from the kernel."""
        self._shares: dict[Endpoint, int] = {}
        self._followed: list[Passage] = []
        """While another kind leads the requests: what this process has set last."""
        self._led: int | None = None
        """How many connections had been led when all others had obeyed."""
        self._switched, self._used = False, True
        """The traffic has moved since this process began, and somebody came by the gate before it did."""

    def route(self, backends: Sequence[Backend]) -> None:
        """The rules of all apps in one transaction; then a connection to each port, to see where it arrives.

        Where connections can't be led, the balancer must find out by itself that a slot is back: that is
        waited for.
        """
        wanted = self._wanted(backends)
        self._means = self._set(wanted)
        ports = {passage.endpoint.port for passage in wanted}
        for passage in wanted:
            self._prove(passage, ports)
        self._reached = {passage.endpoint: passage.target for passage in wanted}
        if self._means is not Means.LEADING:
            self._let_it_notice(backends)
        self._shares = {server.endpoint: server.share for backend in backends for server in backend.servers}

    def follow(self, backends: Sequence[Backend]) -> bool:
        """The gate stays for as long as anybody comes by it, or has a connection that it has led.

        Between two calls the balancer that leads the requests now has obeyed the first, and comes to live ports alone.
        So whoever is led until the traffic moves to another slot lists both ports, and would meet a closed one.
        """
        led, wanted = self._gate.led(), self._wanted(backends)
        if led is None:
            return False
        if wanted != self._followed:
            if self._led is not None and any(map(_leads_away, self._followed)):
                self._used = led != self._led
            self.route(backends)
            self._switched = bool(self._followed)
            self._followed, self._led = wanted, None
        elif self._led is None:
            self._led = led
        elif self._switched and any(map(_leads_away, wanted)):
            if not self._used and not self._gate.holds(passage.endpoint for passage in wanted):
                self._gate.remove()
                return False
            if self._used:
                self._warn_once(_STILL_USED)
        return True

    def notices_after(self) -> float:
        """Without a gate that leads, it avoids a slot that had refused it for so long."""
        seconds = self._settings.fail_timeout
        if not seconds or (self._settings.gate != "none" and self._leads()):
            return 0.0
        return seconds + _MARGIN

    def _leads(self) -> bool:
        """Whether the gate does; where that is not known yet, by what the kernel says of it."""
        if self._means:
            return self._means is Means.LEADING
        return any(target not in {None, endpoint} for endpoint, target in (self._gate.read() or {}).items())

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """Open connections, for the balancer itself tells nothing. None without a gate: new ones never end."""
        if self._means is Means.NONE:
            return None
        reached = self._reached if self._means else self._gate.read()
        if reached is None:
            return None
        favoured = {target for endpoint, target in reached.items() if target != endpoint}
        open_ones = connections.counted(reached)
        return {
            endpoint: Traffic(
                in_flight=open_ones[endpoint],
                requests=None,
                cut=None,
                # Where both are open, the user's balancer chooses, and does not say how.
                share=0 if target != endpoint else 100 if endpoint in favoured else None,
            )
            for endpoint, target in reached.items()
        }

    def stop(self) -> None:
        """Take the gate away."""
        self._gate.remove()

    def _wanted(self, backends: Sequence[Backend]) -> list[Passage]:
        return passages(map(self._without_strangers, backends), _listens_everywhere)

    def _without_strangers(self, backend: Backend) -> Backend:
        """Whoever listens where none of ours is meant to run keeps its connections, unless they are led already."""
        strangers = {
            server.endpoint
            for server in backend.servers
            if not server.claimed and listeners.on(server.endpoint)
        }
        if strangers:
            strangers -= (self._gate.read() or {}).keys()
        for endpoint in sorted(strangers):
            self._warn(
                f"Connections to {endpoint} are not redirected: another program listens there. A balancer that lists "
                f"that port sends {backend.app}'s requests to that program."
            )
        servers = tuple(server for server in backend.servers if server.endpoint not in strangers)
        return replace(backend, servers=servers)

    # -- by which means -------------------------------------------------------------------------

    def _set(self, wanted: Sequence[Passage]) -> Means:
        if self._settings.gate == "none":
            with suppress(UnavailableError):
                self._gate.remove()
            return Means.NONE
        try:
            leads = self._gate.set(wanted)
        except UnavailableError as error:
            if self._settings.gate == "nft":
                error.cure = error.cure or _CURE
                raise
            self._warn_once(
                f"The kernel does not redirect connections: {error.reason} {_WITHOUT_GATE} {error.cure or _CURE}"
            )
            return Means.NONE
        if not wanted:
            self._gate.remove()
        if not leads:
            self._warn_once(_WITHOUT_NAT)
        return Means.LEADING if leads else Means.REFUSING

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)

    def _prove(self, passage: Passage, ports: set[int]) -> None:
        """Only what a real connection does counts. One that nobody accepts says nothing."""
        leads = self._means is Means.LEADING
        target = passage.target if leads or passage.target == passage.endpoint else None
        if target is None or not listeners.on(target):
            return
        # The one that is meant stands first. A second look: another client's connection can be taken for ours.
        for _ in range(2):
            arrived = connections.arrives_at(passage.endpoint, dict.fromkeys((target.port, *ports)))
            if arrived in {None, target.port}:
                return
        raise UnmovedError(
            f"New connections to {passage.endpoint} should arrive at port {target.port}.",
            fact=f"They arrive {f'at port {arrived}' if arrived else 'elsewhere'}: other rules "
            "redirect them, or rules of substitute that this user may not change.",
            cure="See `nft list ruleset` and docs/balancers.md.",
        )

    def _let_it_notice(self, backends: Sequence[Backend]) -> None:
        """A balancer avoids a slot that has refused it, for a while; till then the other one may not leave."""
        for backend in backends:
            risen = {s.endpoint for s in backend.servers if s.share and not self._shares.get(s.endpoint)}
            others = {server.endpoint for server in backend.servers} - risen
            if risen and self._settings.fail_timeout and any(map(listeners.on, others)):
                time.sleep(self._settings.fail_timeout + _MARGIN)  # as `notices_after` says
                return


def _leads_away(passage: Passage) -> bool:
    return passage.target not in {None, passage.endpoint}


def _listens_everywhere(endpoint: Endpoint) -> bool:
    return any(found.address in listeners.WILDCARDS for found in listeners.on(endpoint))
