"""The other edges of a cluster: machines with a root of the same path, which lead requests to the same slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Told:
    """What an edge has told of an app last."""

    by: str
    """The name of the edge."""
    word: str
    """Another one each time that something is told."""
    state: str
    """What its journal said (`Journal.state`)."""


class Edges(Protocol):
    """What the edges of a root tell each other. Everything here raises RuntimeFailedError where it can't be asked."""

    name: str
    """That of this edge."""

    def hold(self, app: str, operation: str) -> AbstractContextManager[bool]:
        """Be the only edge that works on `app`; at most one process of this edge asks for it.

        True where it was taken from an edge that died with it. Raises LockedError, which names the other edge.
        """

    def require_held(self, app: str) -> None:
        """Raise LockedError where `app` is not this edge's any more: it was taken for dead."""

    def left(self, app: str) -> str:
        """Who works on `app`, where that is a dead edge, or this one; else empty."""

    def told(self, app: str) -> Told | None:
        """What was told of `app` last; None where nothing ever was."""

    def tell(self, app: str, state: str, *, after: str) -> str:
        """Tell it; its word is returned. Raises LockedError where another word than `after` was told meanwhile."""

    def lead(self, slots: Mapping[str, Collection[str]]) -> None:
        """Say that this edge lives, and to which slots of each app it leads requests."""

    def leading(self, app: str, slot: str) -> list[str]:
        """The other living edges that lead requests to `slot`."""
