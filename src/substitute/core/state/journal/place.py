"""What becomes of the journal where its root is moved, copied or lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.versions import written
from substitute.core.state.journal.apps import insert_instance, register
from substitute.core.state.journal.database import Database
from substitute.core.state.journal.facts import forget_facts_of_place

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord, SlotRecord


_DIRECTORIES = {
    "SELECT app, directory FROM slot": "UPDATE slot SET directory = ? WHERE app = ? AND directory = ?",
    "SELECT app, directory FROM release": "UPDATE release SET directory = ? WHERE app = ? AND directory = ?",
}
_LOSE_RUNS = "UPDATE run SET outcome = 'lost' WHERE outcome IS NULL"


class Place(Database):
    """A root elsewhere, or begun anew."""

    def settle_in(self, root: str, *, keep: bool = False) -> None:
        """Note that the root is now in `root`; what ran where it was runs no more, unless `keep` says so."""
        with self._write(durably=True) as db:
            _move(db, root)
            if not keep:
                forget_facts_of_place(db)
                db.execute("DELETE FROM command")
                db.execute(_LOSE_RUNS)
                db.execute("DELETE FROM instance")
                db.execute("UPDATE slot SET standby = 0, standby_until = NULL")
                db.execute("UPDATE guest SET process = NULL")

    def begin_anew(self, root: str) -> None:
        """Note that this is the journal of a copy in `root`: it has a history and files, and nothing is live.

        What was built elsewhere may lead there by its paths, so it is built again.
        """
        with self._write(durably=True) as db:
            _move(db, root)
            db.execute("DELETE FROM fact")
            db.execute("DELETE FROM command")
            db.execute(_LOSE_RUNS)
            db.execute("DELETE FROM guest")
            db.execute("DELETE FROM release")
            db.execute("DELETE FROM instance")
            db.execute("DELETE FROM hold")
            db.execute("UPDATE app SET live = NULL, stopped = 0")
            db.execute(
                "UPDATE slot SET standby = 0, standby_until = NULL, share = 0, intact = 0, committed = 0,"
                " version = NULL"
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
                        "UPDATE slot SET directory = ?, share = ?, hash = ?, intact = ?, committed = ?, version = ?"
                        " WHERE app = ? AND name = ?",
                        (
                            str(slot.directory),
                            *(slot.share, slot.commit, slot.intact, slot.name is record.live, _version(slot)),
                            *(app.name, slot.name),
                        ),
                    )
                    for instance in slot.started:
                        insert_instance(db, instance)
                db.execute("UPDATE app SET live = ? WHERE name = ?", (record.live, app.name))
                if record.live_slot and record.live_slot.commit:
                    db.execute(
                        "INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome)"
                        " VALUES (?, 'found', ?, ?, ?, ?, ?, 'succeeded')",
                        (app.name, record.live, record.live_slot.commit, now, now, now),
                    )


def _version(slot: SlotRecord) -> str | None:
    """What nothing but the journal and the engine knows: the image. All else is what the configuration says."""
    return written(slot.version, slot.commit) if slot.version and slot.version.image_id else None


def _move(db: sqlite3.Connection, root: str) -> None:
    for directories, change in _DIRECTORIES.items():
        for row in db.execute(directories).fetchall():
            moved = str(Path(root, Path(row["directory"]).name))
            db.execute(change, (moved, row["app"], row["directory"]))
