"""A root that goes from one kind of balancer to another, with no request lost on either way.

Whoever led requests before may do so still: the front of the user's is moved later, or by and by. So each kind that was
used follows the same routes until `down`, or until nothing can come through it any more; and no instance counts as
left alone while one of them has something there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.core.errors import UnobservedError
from substitute.core.ports import Balancer, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.core.ports import Backend
    from substitute.core.slots import Endpoint


class Leaving(Balancer, Protocol):
    """A balancer that another kind can succeed."""

    def follow(self, backends: Sequence[Backend]) -> bool:
        """Lead what still comes here as `backends` says; False where nothing can come through it any more.

        It is not started for that. Raises BalancerError where it did not demonstrably obey.
        """


class Handover:
    """See `core.ports.Balancer`: all that are in use."""

    def __init__(
        self, kind: str, later: Leaving, earlier: Mapping[str, Leaving], note: Callable[[Sequence[str]], None]
    ) -> None:
        self._kind = kind
        self._later = later
        self._earlier = dict(earlier)
        self._note = note
        """Writes down which kinds are in use."""

    def route(self, backends: Sequence[Backend]) -> None:
        """The later one first, then those before it. That it is used is written down before it is told anything."""
        self._note([self._kind, *self._earlier])
        self._later.route(backends)
        self._have_all_follow(backends)

    def pending(self, backends: Sequence[Backend]) -> str:
        """What the later one says."""
        return self._later.pending(backends)

    def reload(self, backends: Sequence[Backend]) -> None:
        """The later one; those before it follow."""
        self._note([self._kind, *self._earlier])
        self._later.reload(backends)
        self._have_all_follow(backends)

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

    def stop(self) -> None:
        """All of them."""
        for one in (*self._earlier.values(), self._later):
            one.stop()
        self._earlier.clear()
        self._note([])

    def _have_all_follow(self, backends: Sequence[Backend]) -> None:
        for kind, one in list(self._earlier.items()):
            if not one.follow(backends):
                one.stop()
                del self._earlier[kind]
                self._note([self._kind, *self._earlier])


def _together(one: Mapping[Endpoint, Traffic], other: Mapping[Endpoint, Traffic]) -> dict[Endpoint, Traffic]:
    found = dict(other) | dict(one)
    for endpoint in one.keys() & other.keys():
        mine, more = one[endpoint], other[endpoint].in_flight
        found[endpoint] = Traffic(max(mine.in_flight, more), mine.requests, mine.failures, mine.share)
    return found
