"""The table `command`: builds and hooks that are under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.state.journal.builds import Builds, forget_overwritten_fact
from substitute.core.state.journal.columns import dump_process, load_process

if TYPE_CHECKING:
    from substitute.core.model.programs import Process


class Commands(Builds):
    """Process groups that may outlive their deployer."""

    def command_started(self, app: str, process: Process, *, changes_files: bool = True) -> None:
        """Note the process group of a build or a hook, which may outlive its deployer, and change any file."""
        with self._write(durably=changes_files and self.overwritten(app) is not None) as db:
            if changes_files:
                forget_overwritten_fact(db, app)
            db.execute("INSERT INTO command (app, process) VALUES (?, ?)", (app, dump_process(process)))

    def commands(self, app: str) -> list[Process]:
        """The groups noted and not forgotten."""
        rows = self._db.execute("SELECT process FROM command WHERE app = ?", (app,))
        return [process for row in rows if (process := load_process(row["process"]))]

    def forget_commands(self, app: str) -> None:
        """Forget them: they ended."""
        with self._write() as db:
            db.execute("DELETE FROM command WHERE app = ?", (app,))
