"""A unit that is enabled: the system's for root, else one of the user's own manager."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.boot import unit
from substitute.core.errors import SubstituteError
from substitute.files import write_atomically
from substitute.naming import root_hash
from substitute.shell import capture

if TYPE_CHECKING:
    from substitute.boot.command import Command

_PATIENCE = 60.0


class Systemd:
    """See `boot.Starter`."""

    kind = "systemd"

    def __init__(self, root: Path, runtime: str, *, user: bool, units: Path | None = None) -> None:
        """`units` is where the manager looks for units, known unless a test says otherwise."""
        self._runtime = runtime
        self._user = user
        self._name = f"substitute-{root_hash(root)}.service"
        self._file = (units or _units(user=user)) / self._name

    def where(self) -> str | None:
        """The unit's file."""
        return str(self._file) if self._file.exists() else None

    def install(self, command: Command) -> str:
        """Write it, enable it, and start it: what runs already is left alone."""
        text = unit.render(command, runtime=self._runtime, by_user=self._user)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, text, mode=0o644)
        except OSError as error:
            raise SubstituteError(f"{self._file} cannot be written.", fact=error.strerror or "") from error
        self._tell("daemon-reload")
        self._tell("enable", self._name)
        self._tell("start", "--no-block", self._name)
        return str(self._file)

    def uninstall(self) -> str | None:
        """Disable it and remove its file; it is not stopped, for that would stop what runs in it."""
        where = self.where()
        if where:
            self._tell("disable", self._name)
            with suppress(FileNotFoundError):
                self._file.unlink()
            self._tell("daemon-reload")
        return where

    def _tell(self, *words: str) -> None:
        argv = ["systemctl", *(["--user"] if self._user else []), "--quiet", *words]
        try:
            done = capture(argv, timeout=_PATIENCE)
        except OSError as error:
            raise SubstituteError("systemctl cannot be run.", fact=error.strerror or "") from error
        if done.status:
            raise SubstituteError(f"`{' '.join(argv)}` failed.", fact=done.err.strip())


def _units(*, user: bool) -> Path:
    if not user:
        return Path("/etc/systemd/system")
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration, "systemd", "user")
