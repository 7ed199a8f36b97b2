"""Nothing is taken from a slot before HAProxy itself reaches the one that is to have it instead, wherever that is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import checks, file
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.names import of_backend, of_servers
from substitute.core.model.errors import UnmovedError
from substitute.core.model.slots import SlotName
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy.answers import Look
    from substitute.core.ports.balancer import Backend

_PATIENCE = 10.0
"""Seconds until one server of a slot must have been reached."""
_MOMENT = 2 * checks.INTERVAL + checks.TWICE * checks.IN_DOUBT
"""Seconds for those that can be reached: a look that was in vain may have begun just before, and takes an interval.

The first one that is there shall not have the requests of all; and some are never there.
"""
_TICK = 0.02


@dataclass(frozen=True)
class Move:
    """The shares of an app whose servers are looked at, where they are about to change."""

    backend: Backend
    """As it is to be."""
    before: Mapping[SlotName, int]
    """What its slots have."""
    spare: SlotName | None

    def gain(self, slot: SlotName) -> bool:
        """Whether it is to have more than it has."""
        return self._wanted(slot) > self.before[slot]

    def lose(self, slot: SlotName) -> bool:
        """Whether it is to have less than it has."""
        return self._wanted(slot) < self.before[slot]

    def unreached(self, looks: Mapping[tuple[str, str], Look]) -> list[SlotName]:
        """Slots without which nothing may be taken from the others, and of which none is reached.

        One that only stays needs no proof where nobody of the other is there either.
        """
        loser_serves = any(self.lose(slot) and any(self._there(slot, looks)) for slot in SlotName)
        return [
            slot
            for slot in SlotName
            if self._wanted(slot) and (self.gain(slot) or loser_serves) and not any(self._there(slot, looks))
        ]

    def incomplete(self, looks: Mapping[tuple[str, str], Look]) -> bool:
        """Whether one more could be there of what gains."""
        return any(self.gain(slot) and not all(self._there(slot, looks)) for slot in SlotName)

    def without(self) -> Backend:
        """The app with all else as it is to be, and nothing taken from anybody."""
        if not any(map(self.lose, SlotName)):
            return self.backend
        servers = tuple(replace(each, share=self.before[each.slot]) for each in self.backend.servers)
        return replace(self.backend, servers=servers, spare=self.spare)

    def _wanted(self, slot: SlotName) -> int:
        return max((each.share for each in self.backend.servers if each.slot is slot), default=0)

    def _there(self, slot: SlotName, looks: Mapping[tuple[str, str], Look]) -> list[bool]:
        return [look.answers if look else True for _, look in self.seen(slot, looks)]

    def seen(
        self, slot: SlotName, looks: Mapping[tuple[str, str], Look]
    ) -> Iterator[tuple[str, Look | None]]:
        """Each endpoint of the slot, and what came of looking at it; None for one that is not looked at."""
        for name, each in of_servers(self.backend):
            if each.slot is slot:
                yield str(each.endpoint), looks.get((of_backend(self.backend), name))


def moves(written: str, backends: Sequence[Backend]) -> list[Move]:
    """What `backends` changes of what HAProxy's file says, where it looks at servers."""
    found = []
    for backend in filter(checks.among, backends):
        move = Move(backend, file.shares(written, backend.app), file.spare(written, backend.app))
        has_share = any(server.share for server in backend.servers)
        if has_share and any(move.gain(slot) or move.lose(slot) for slot in SlotName):
            found.append(move)
    return found


def first(backends: Sequence[Backend], moved: Sequence[Move]) -> list[Backend]:
    """`backends` before anything is taken from anybody for those that are `moved`."""
    instead = {move.backend.app: move.without() for move in moved}
    return [instead.get(backend.app, backend) for backend in backends]


def wait(run_directory: Path, moved: Sequence[Move]) -> None:
    """Until HAProxy reaches who is to have requests; for a moment longer for the others of them.

    Raises UnmovedError, with what it sees, and `Silent`.
    """
    began = time.monotonic()
    while True:
        looks, waited = api.looks(run_directory), time.monotonic() - began
        missing = [(move, slot) for move in moved for slot in move.unreached(looks)]
        if missing and waited > _PATIENCE:
            raise _unreached(*missing[0], looks)
        if not missing and (waited > _MOMENT or not any(move.incomplete(looks) for move in moved)):
            return
        time.sleep(_TICK)


def _unreached(move: Move, slot: SlotName, looks: Mapping[tuple[str, str], Look]) -> UnmovedError:
    serves = " and ".join(str(other) for other in SlotName if move.before[other])
    return UnmovedError(
        f"HAProxy reaches no instance of slot {slot} of {move.backend.app}.",
        fact="; ".join(f"{endpoint}: {look.saw}" for endpoint, look in move.seen(slot, looks) if look),
        cure="This machine must be able to connect to one of these addresses."
        + (f" Slot {serves} has the requests as before." if serves else ""),
    )
