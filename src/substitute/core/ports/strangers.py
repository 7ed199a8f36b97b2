"""Programs that were not started here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint


@dataclass(frozen=True)
class Keeper:
    """What kept a program running before it was adopted: a unit of systemd's, PM2, a container's engine."""

    called: str
    """As ``the systemd unit shop.service``."""
    start: tuple[str, ...]
    stop: tuple[str, ...]
    """After which it is not started again by itself, until a reboot."""
    forget: str
    """What somebody types so that it is not started after a reboot either."""
    user: str | None = None
    """Whose it is, and whose commands these are; None is who runs this."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_same(self, other: Keeper | None) -> bool:
        """Whether it is that one, whatever its commands are today."""
        return other is not None and (self.called, self.user) == (other.called, other.user)


@dataclass(frozen=True)
class Stranger:
    """A program that listens on a port, and was not started here."""

    process: Process
    """The main one of its processes, which gets the signal."""
    directory: Path
    user: str | None
    """Whose it is; None is who runs this."""
    keeper: Keeper | None
    """None: whoever stops it has stopped it."""


class Strangers(Protocol):
    """Programs that were not started here."""

    def find(self, endpoint: Endpoint) -> Stranger | None:
        """What listens there; None where nobody does. Raises UsageError where it can't be told, or not be stopped."""

    def end(self, process: Process, *, timeout: float, signal: str) -> bool:
        """`signal` to `process`; after `timeout` seconds SIGKILL to it and what descends from it: True if needed.

        Raises RuntimeFailedError if it cannot be ended.
        """
