"""What a balancer remembers of the requests that were answered: an optional capability of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from substitute.core.model.slots import SlotName

CUT = "…"
"""The end of a path that was too long to be kept whole."""


class Answered(NamedTuple):
    """A request that has ended. It holds no query, no cookie and no address."""

    app: str
    slot: SlotName | None
    """Whose instance answered, or was to answer. None: the balancer answered by itself, since none has a share."""
    method: str
    """As it was sent; empty where it was too long to be kept."""
    path: str
    """Without its query, ASCII and printable: HAProxy writes other bytes as ``#C3``. It may end with `CUT`."""
    host: str
    """The Host header; empty where there was none."""
    scheme: str
    """``http`` or ``https``, as the app was told by X-Forwarded-Proto."""
    status: int
    """What the client got; -1 where it got nothing."""
    broken: bool
    """The answer did not come, or not to its end, by the instance's fault. A client that went away is none."""
    seconds: float
    """From the connection to the instance until its answer began; where none came, until the request ended."""
    client: str | None
    """A hash that all requests of one client have in common, until HAProxy is reloaded. None: not known."""
    at: float
    """When it ended, in seconds since the epoch."""
    chosen: bool = False
    """Whether the client named the version (by a header, or as its preview), so that it was not chance."""
    new: bool = False
    """Whether `client` was made up for this request: a client that keeps no cookies has another one in each."""

    @property
    def failed(self) -> bool:
        """Whether that is a failure of the version: a 5xx, or an answer that it broke off."""
        return self.broken or self.status >= 500


class Answers(Protocol):
    """What is answered from now on."""

    def take(self, seconds: float) -> Sequence[Answered]:
        """Take what was answered since the last call, and for so many seconds more.

        Call it again at once: what nobody reads is lost when the balancer's memory is full. Never raises; while the
        balancer is away there is nothing.
        """


class AccessLog(Protocol):
    """The requests of one app."""

    def recent(self) -> Sequence[Answered]:
        """Return what the balancer remembers, the oldest first; nothing where it has just been started.

        Raises UnobservedError.
        """

    def follow(self) -> AbstractContextManager[Answers]:
        """Hear of what is answered in here. A reload of the balancer meanwhile loses nothing of it."""
