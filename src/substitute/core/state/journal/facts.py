"""The table `fact`: what is remembered of the root itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.state.journal.database import Database

if TYPE_CHECKING:
    import sqlite3


class Facts(Database):
    """What is remembered of the root itself, by name."""

    def fact(self, name: str) -> str | None:
        """What is remembered of the root itself under `name`, or None."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def remember(self, name: str, value: str) -> None:
        """Record what `fact` returns; nothing is written where it is so already."""
        if self.fact(name) != value:
            with self._write(durably=True) as db:
                db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))

    def forget(self, name: str) -> None:
        """Forget what is remembered under `name`."""
        with self._write(durably=True) as db:
            db.execute("DELETE FROM fact WHERE name = ?", (name,))

    def forget_facts(self) -> None:
        """Forget what was so on another machine, or in another place."""
        with self._write(durably=True) as db:
            forget_facts_of_place(db)


def forget_facts_of_place(db: sqlite3.Connection) -> None:
    """Do so in the transaction of `db`. What a person has locked or paused is so wherever the root is."""
    db.execute(
        "DELETE FROM fact WHERE name <> 'locked' AND name NOT LIKE 'locked:%' AND name NOT LIKE 'paused:%'"
    )
