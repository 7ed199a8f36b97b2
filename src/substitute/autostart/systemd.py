"""A unit that is enabled: the system's for root, else one of the user's own manager."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.autostart import unit
from substitute.core.model.errors import SubstituteError
from substitute.io.files import write_atomically
from substitute.linux.init_system import run_directory
from substitute.linux.root_names import root_hash
from substitute.linux.subprocesses import capture

if TYPE_CHECKING:
    from substitute.autostart.command import Command

_PATIENCE = 60.0


class Systemd:
    """See `autostart.Starter`."""

    kind = "systemd"

    def __init__(self, root: Path, *, user: bool, units: Path | None = None) -> None:
        """`units` is where the manager looks for units, known unless a test says otherwise."""
        self._user = user
        self._name = f"substitute-{root_hash(root)}.service"
        self._file = (units or _units(user=user)) / self._name

    def where(self) -> str | None:
        """The unit's file."""
        return str(self._file) if self._file.exists() else None

    def install(self, command: Command) -> str:
        """Write it, enable it, and start it: what runs already is left alone."""
        self._let_go()
        self._write(unit.render(command, by_user=self._user, version=self._version()))
        self._tell("daemon-reload")
        self._tell("enable", self._name)
        self._tell("start", "--no-block", self._name)
        return str(self._file)

    def rest(self) -> None:
        """End it while it has not succeeded."""
        if self.where() and self._state() == "activating":
            self._tell("stop", self._name)

    def uninstall(self) -> str | None:
        """Disable it and remove its file; what runs in it goes on."""
        where = self.where()
        if where:
            self._let_go()
            self._tell("disable", self._name)
            with suppress(FileNotFoundError):
                self._file.unlink()
            self._tell("daemon-reload")
        return where

    def _let_go(self) -> None:
        """End it, or it would count as started for ever, and would not run when it is installed again."""
        if self._state() != "inactive":
            self._write(unit.WITHOUT_STOP)
            self._tell("daemon-reload")
            self._tell("stop", self._name)
            self._tell("reset-failed", self._name, expected=False)

    def _state(self) -> str:
        return self._tell("show", "--property=ActiveState", "--value", self._name).strip()

    def _write(self, text: str) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, text, mode=0o644)
        except OSError as error:
            raise SubstituteError(f"{self._file} cannot be written.", fact=error.strerror or "") from error

    def _version(self) -> int:
        found = re.search(r"\d+", self._tell("--version"))
        return int(found[0]) if found else 0

    def _tell(self, *words: str, expected: bool = True) -> str:
        argv = ["systemctl", *(["--user"] if self._user else []), "--quiet", *words]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(run_directory(os.geteuid()))}
        try:
            done = capture(argv, timeout=_PATIENCE, environment=environment)
        except OSError as error:
            raise SubstituteError("systemctl cannot be run.", fact=error.strerror or "") from error
        if done.status and expected:
            raise SubstituteError(f"`{' '.join(argv)}` failed.", fact=done.err.strip())
        return done.out


def _units(*, user: bool) -> Path:
    if not user:
        return Path("/etc/systemd/system")
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration, "systemd", "user")
