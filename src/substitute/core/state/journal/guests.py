"""The table `guest`: what `start` runs beside the apps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.records import GuestRecord
from substitute.core.model.versions import read, written
from substitute.core.state.journal.columns import dump_process, load_process
from substitute.core.state.journal.database import Database

if TYPE_CHECKING:
    import sqlite3


class Guests(Database):
    """What `start` runs under names that are no slots."""

    def guests(self) -> dict[str, GuestRecord]:
        """What `start` runs under names that are no slots."""
        return {row["name"]: _guest(row) for row in self._db.execute("SELECT * FROM guest ORDER BY name")}

    def host_guest(self, guest: GuestRecord) -> None:
        """Note a guest."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO guest (name, directory, port, command, process, settings)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(guest.name, str(guest.directory), guest.port, guest.command),
                    *(
                        guest.process and dump_process(guest.process),
                        written(guest.version) if guest.version else "{}",
                    ),
                ),
            )

    def dismiss_guest(self, name: str) -> None:
        """Forget a guest."""
        with self._write() as db:
            db.execute("DELETE FROM guest WHERE name = ?", (name,))


def _guest(row: sqlite3.Row) -> GuestRecord:
    return GuestRecord(
        name=row["name"],
        directory=Path(row["directory"]),
        port=row["port"],
        command=row["command"],
        process=load_process(row["process"]),
        version=read(row["settings"]),
    )
