"""What becomes of the journal where its root is moved, copied or lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.state.journal.apps import register
from substitute.core.state.journal.columns import dump_process
from substitute.core.state.journal.database import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord


class Place(Database):
    """A root elsewhere, or begun anew."""

    def settle_in(self, root: str, *, keep: bool = False) -> None:
        """Note that the root is now in `root`; what ran where it was runs no more, unless `keep` says so."""
        with self._write(durably=True) as db:
            _move(db, root)
            if not keep:
                db.execute("DELETE FROM fact")
                db.execute("DELETE FROM command")
                db.execute("UPDATE slot SET process = NULL, standby = 0")
                db.execute("UPDATE guest SET process = NULL")

    def begin_anew(self, root: str) -> None:
        """Note that this is the journal of a copy in `root`: it has a history and files, and nothing is live.

        What was built elsewhere may lead there by its paths, so it is built again.
        """
        with self._write(durably=True) as db:
            _move(db, root)
            db.execute("DELETE FROM fact")
            db.execute("DELETE FROM command")
            db.execute("DELETE FROM guest")
            db.execute("UPDATE app SET live = NULL, stopped = 0")
            db.execute(
                "UPDATE slot SET process = NULL, standby = 0, share = 0, intact = 0, committed = 0, version = NULL"
            )
            db.execute(
                "UPDATE deployment SET outcome = 'interrupted', reason = 'The root was copied.' WHERE outcome IS NULL"
            )

    def restore(self, found: Iterable[tuple[App, AppRecord]], *, now: float) -> None:
        """Fill an empty journal with what was observed: all apps in one transaction, so that none is forgotten.

        What is live counts as deployed and as a finished build: there is something to go back to.
        """
        with self._write(durably=True) as db:
            for app, record in found:
                register(db, app, {name: slot.endpoints for name, slot in app.slots.items()})
                for slot in record.slots.values():
                    db.execute(
                        "UPDATE slot SET share = ?, hash = ?, intact = ?, committed = ?, process = ?"
                        " WHERE app = ? AND name = ?",
                        (
                            *(slot.share, slot.commit, slot.intact, slot.name is record.live),
                            *(slot.process and dump_process(slot.process), app.name, slot.name),
                        ),
                    )
                db.execute("UPDATE app SET live = ? WHERE name = ?", (record.live, app.name))
                if record.live_slot and record.live_slot.commit:
                    db.execute(
                        "INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome)"
                        " VALUES (?, 'found', ?, ?, ?, ?, ?, 'succeeded')",
                        (app.name, record.live, record.live_slot.commit, now, now, now),
                    )


def _move(db: sqlite3.Connection, root: str) -> None:
    for row in db.execute("SELECT app, name FROM slot").fetchall():
        directory = str(Path(root, f"{row['app']}_{row['name']}"))
        db.execute(
            "UPDATE slot SET directory = ? WHERE app = ? AND name = ?", (directory, row["app"], row["name"])
        )
