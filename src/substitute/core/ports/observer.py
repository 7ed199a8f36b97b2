"""Sees an instance from outside while it is told to stop."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint


@dataclass(frozen=True)
class Member:
    """One process of an instance."""

    process: Process
    name: str
    """As ``node``."""
    listens: bool
    """It holds a socket that listens on the instance's port."""
    platform: str = ""
    """What its command line shows it to be (`core.advice` knows the names), or empty."""
    parent: int | None = None
    """The pid of who started it, where that one still runs."""
    handles_signal: bool = True
    """False: the stop signal ends it at once or is ignored, by the kernel; nothing of its own runs then."""
    program: str = ""
    """The file that it executes, where `name` is only a title that it gave itself, as ``next-server``."""

    def __str__(self) -> str:
        also = f", a {self.program} process" if self.program else ""
        return f"{self.name} (pid {self.process.pid}{also})"


class Hold(StrEnum):
    """What the client of a request keeps back until it is told to go on."""

    NOTHING = "nothing"
    BODY = "body"
    """The request's head announces a body that is not sent yet."""
    READING = "reading"
    """Nothing is read. What the kernel takes of the answer is kept small: about 60 KB."""


@dataclass(frozen=True)
class Request:
    """What is asked of an instance."""

    method: str
    path: str
    host: str | None
    """The Host header; None is the address that is asked."""
    hold: Hold = Hold.NOTHING
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """What has come on a connection so far."""

    status: int | None = None
    """The status of the answer, as soon as all of it is there."""
    closed: str = ""
    """How the instance ended the connection (``closed``, ``reset``), or empty while it is open."""
    size: int = field(default=0, compare=False)
    """Bytes of the whole answer, as soon as all of it is there."""


@dataclass(frozen=True)
class Progress:
    """How far an instance is with a request, as the kernel knows it."""

    accepted: bool = True
    """False: the connection waits in the queue of the listening socket."""
    handed_over: int | None = None
    """How many bytes of its answer the instance is rid of: read, or in the kernel's hands. None: not known."""


class Conversation(Protocol):
    """One connection to an instance, with one request on it. No method waits or raises."""

    def hear(self) -> Heard:
        """What has come so far."""

    def go_on(self) -> None:
        """Send the body that was held back; read the answer."""

    def progress(self) -> Progress:
        """How far the instance is with it."""

    def close(self) -> None:
        """Close the connection."""


class Observer(Protocol):
    """Sees an instance from outside while it is told to stop. Its connections are marked as probes."""

    def members(self, endpoint: Endpoint, process: Process, signal: str) -> tuple[Member, ...]:
        """The running processes of an instance, which is stopped by `signal`: `process`, its group, its descendants."""

    def refuses(self, endpoint: Endpoint) -> bool:
        """Whether a new connection is refused."""

    def lateness(self, endpoint: Endpoint, request: Request) -> float:
        """Seconds for which a second answer on one connection waits until a part of it is acknowledged.

        0 where that can't be seen.
        """

    def ask(self, endpoint: Endpoint, request: Request) -> Conversation:
        """Connect and send `request`. An instance that can't be connected to gives a conversation which is closed."""
