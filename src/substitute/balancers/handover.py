"""A root that goes from one kind of balancer to another, with no request lost on either way.

Whoever led requests before may do so still: the front of the user's is moved later, or by and by. So each kind that was
used follows the same routes until `down`, or until nothing can come through it any more; and no instance counts as
left alone while one of them has something there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from substitute.core.model.errors import BalancerError, UnobservedError
from substitute.core.ports.balancer import Balancer, Traffic
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.access_log import AccessLog
    from substitute.core.ports.balancer import Backend

_GATE = "passive"
"""Told first: of a port that it still leads away, another balancer would keep a connection in its pool that ends in the
other slot, and send request after request there."""
_OURS = frozenset({_GATE, "haproxy"})
"""Kinds that `stop` leaves nothing of."""


class Leaving(Balancer, Protocol):
    """A balancer that another kind can succeed."""

    def follow(self, backends: Sequence[Backend]) -> bool:
        """Lead what still comes here as `backends` says; False where nothing can come through it any more.

        Then nothing of it is left. Raises BalancerError where it did not demonstrably obey.
        """


class BalancerHandover:
    """See `core.ports.balancer.Balancer`: all that are in use."""

    def __init__(
        self,
        kind: str,
        later: Leaving,
        earlier: Mapping[str, Leaving],
        note: Callable[[Sequence[str]], None],
        *,
        certain: bool = True,
    ) -> None:
        """Not `certain`: nobody noted which kinds were used, and each of `earlier` is asked whether it leads any."""
        self._kind = kind
        self._later = later
        self._earlier = dict(earlier) if certain else {}
        self._asked = {} if certain else dict(earlier)
        self._note = note
        """Writes down which kinds are in use."""

    def route(self, backends: Sequence[Backend]) -> None:
        """All of them. That the later one is used is written down before it is told anything."""
        self._tell(backends, self._later.route)

    def notices_after(self) -> float:
        """The longest of all that are in use."""
        return max(one.notices_after() for one in (self._later, *self._earlier.values()))

    def pending(self, backends: Sequence[Backend]) -> str:
        """Asks the later one."""
        return self._later.pending(backends)

    def reload(self, backends: Sequence[Backend]) -> None:
        """The later one; those before it follow."""
        self._tell(backends, self._later.reload)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """The shares and counters of the later one; in flight is what any of them has there.

        That is the most that one of them says: all but HAProxy count the connections of everybody.
        """
        found = self._later.traffic()
        for one in self._earlier.values():
            try:
                seen = one.traffic()
            except UnobservedError:
                if found is None:
                    raise
                continue  # `follow` says whether it is gone; whose connections are open, the others see too
            if seen is not None:
                found = _together(found or {}, seen)
        return found

    def previews(self, backend: Backend) -> Sequence[str]:
        """Asks the later one."""
        return self._later.previews(backend)

    def access_log(self, app: str) -> AccessLog | None:
        """Asks the later one."""
        return self._later.access_log(app)

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        """Asks the later one: only HAProxy can name its streams."""
        return self._later.streams(endpoints)

    def end_streams(self, streams: Sequence[str]) -> int:
        """Asks the later one."""
        return self._later.end_streams(streams)

    def fronts(self) -> Sequence[str]:
        """Of all that are in use, the later one's first."""
        every = (self._later, *self._earlier.values())
        return list(dict.fromkeys(place for one in every for place in one.fronts()))

    def stop(self) -> None:
        """All that are ours. A program of the user's goes on by the file that it has."""
        for one in (*self._earlier.values(), self._later):
            one.stop()
        self._earlier = {kind: one for kind, one in self._earlier.items() if kind not in _OURS}
        self._note([kind for kind in (self._kind, *self._earlier) if kind not in _OURS])

    def _tell(self, backends: Sequence[Backend], tell: Callable[[Sequence[Backend]], None]) -> None:
        self._earlier |= {kind: one for kind, one in self._asked.items() if _leads(one)}
        self._asked = {}
        self._note([self._kind, *self._earlier])
        for kind in sorted([self._kind, *self._earlier], key=lambda kind: kind != _GATE):
            if kind == self._kind:
                tell(backends)
            else:
                self._have_follow(kind, backends)
        if _GATE in self._earlier:  # whether anybody comes by it shows when all others obey
            self._have_follow(_GATE, backends)

    def _have_follow(self, kind: str, backends: Sequence[Backend]) -> None:
        if not self._earlier[kind].follow(backends):
            del self._earlier[kind]
            self._note([self._kind, *self._earlier])


def _leads(balancer: Leaving) -> bool:
    with suppress(BalancerError):
        return bool(balancer.traffic())
    return False


def _together(one: Mapping[Endpoint, Traffic], other: Mapping[Endpoint, Traffic]) -> dict[Endpoint, Traffic]:
    found = dict(other) | dict(one)
    for endpoint in one.keys() & other.keys():
        mine, more = one[endpoint], other[endpoint].in_flight
        found[endpoint] = replace(mine, in_flight=max(mine.in_flight, more))
    return found
