"""What the rest of this package asks of a connection; OpenSSH is one, and tests have another."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NoReturn, Protocol

from substitute.linux.dialogue import SilentError
from substitute.values import dataclass

__all__ = ["Channel", "Ended", "RemoteHost", "SilentError", "Transport"]

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class RemoteHost:
    """A host that is reached over ssh."""

    name: str
    """How it is shown and chosen: unique."""
    destination: str
    """``USER@HOST:PORT``, as substitute.toml has it."""


@dataclass(frozen=True)
class Ended:
    """How a command on a host ended, as far as the connection tells."""

    status: int | None
    """Its exit status; None where the connection has failed or was never there."""
    said: str
    """The last of what was written on standard error, by the command or by the connection."""


class Channel(Protocol):
    """A command that runs on a host."""

    def line(self, patience: float | None = None) -> str | None:
        """Its next line; None where there will be none. Raises SilentError after `patience` seconds."""

    def tell(self, line: str) -> None:
        """Give it a line on its standard input; by any thread. Nothing happens where nobody listens."""

    def close(self) -> Ended:
        """Leave it, and say how it ended. It is not told to end."""


class Transport(Protocol):
    """Runs commands on hosts."""

    def run(self, host: RemoteHost, words: Sequence[str]) -> Channel:
        """Begin `substitute WORDS` there. Raises SubstituteError where not even that can be tried."""

    def become(self, host: RemoteHost, words: Sequence[str]) -> NoReturn:
        """Be `substitute WORDS` there, in the place of this process: its terminal or its pipes, and its exit status.

        Raises SubstituteError where that cannot be tried.
        """

    def shell(
        self, host: RemoteHost, script: str, words: Sequence[str], given: IO[bytes] | None = None
    ) -> Channel:
        """Begin a script for sh there; `words` are its parameters, `given` is its standard input."""
