"""The table `fact`: what is remembered of the root itself."""

from __future__ import annotations

from substitute.core.state.journal.database import Database


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

    def forget_facts(self) -> None:
        """Forget all that `remember` recorded: it was of another machine."""
        with self._write(durably=True) as db:
            db.execute("DELETE FROM fact")
