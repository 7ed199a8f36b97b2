"""Commands on hosts by the user's own ssh."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from substitute.core.model.errors import SubstituteError
from substitute.hosts.channel import Ended
from substitute.hosts.ssh.command_line import script_line, ssh_command, substitute_line
from substitute.io.files import private_directory
from substitute.linux.dialogue import Dialogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.hosts.channel import RemoteHost

_FAILED = 255
"""The exit status of ssh where it has failed itself, and where a signal ended the command there."""


class OpenSsh:
    """A `Transport`. One connection a host is kept for a minute, for the next commands."""

    def __init__(self, *, connect_timeout: float, config: Path | None = None) -> None:
        self._connect_timeout, self._config = connect_timeout, config
        self._sockets = _sockets()

    def run(self, host: RemoteHost, words: Sequence[str]) -> SshChannel:
        """As `Transport` has it."""
        return self._begin(host, substitute_line(words))

    def shell(
        self, host: RemoteHost, script: str, words: Sequence[str], given: IO[bytes] | None = None
    ) -> SshChannel:
        """As `Transport` has it."""
        return self._begin(host, script_line(script, words), given)

    def become(self, host: RemoteHost, words: Sequence[str]) -> NoReturn:
        """As `Transport` has it."""
        argv = self._command(host, substitute_line(words), terminal=os.isatty(0) and os.isatty(1))
        try:
            os.execvp(argv[0], argv)  # noqa: S606  # the user's own ssh, in the place of this
        except FileNotFoundError:
            raise _no_ssh() from None

    def _begin(self, host: RemoteHost, remote: str, given: IO[bytes] | None = None) -> SshChannel:
        try:
            return SshChannel(Dialogue(self._command(host, remote), given=given))
        except FileNotFoundError:
            raise _no_ssh() from None

    def _command(self, host: RemoteHost, remote: str, *, terminal: bool = False) -> list[str]:
        return ssh_command(
            host.destination,
            remote,
            connect_timeout=self._connect_timeout,
            config=self._config,
            sockets=self._sockets,
            terminal=terminal,
        )


class SshChannel:
    """A `Channel`: one ssh. Where it ends, what runs on the host goes on."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue

    def line(self, patience: float | None = None) -> str | None:
        """As `Channel` has it."""
        return self._dialogue.line(patience)

    def tell(self, line: str) -> None:
        """As `Channel` has it."""
        self._dialogue.tell(line)

    def close(self) -> Ended:
        """As `Channel` has it."""
        status, err = self._dialogue.close()
        return Ended(status if 0 <= status < _FAILED else None, err.strip())


def _no_ssh() -> SubstituteError:
    return SubstituteError(
        "There is no ssh on this machine.", cure="Install OpenSSH's client (openssh-client)."
    )


def _sockets() -> Path | None:
    """A directory of this user's for the sockets of connections; without one each command has a connection."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and Path(runtime).is_dir() else Path.home() / ".cache"
    with suppress(OSError):
        return private_directory(base / "substitute")
    return None
