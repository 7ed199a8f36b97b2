"""Whether the files of a slot are a finished build, and whether one that was overwritten can be had again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.model.slots import SlotName
from substitute.core.state.journal.apps import Apps

if TYPE_CHECKING:
    import sqlite3

    from substitute.core.model.records import SlotRecord


class Builds(Apps):
    """The files of each slot, as far as the journal knows them."""

    def spoil(self, app: str, slot: SlotName, *, returns_from: str | None = None) -> None:
        """Note that the slot's files are about to change: on the disk before they are.

        A finished build that it holds can be had again by going back from the commit `returns_from`, as long as nothing
        runs there: see `overwritten`.
        """
        with self._write(durably=True) as db:
            forget_overwritten_fact(db, app)
            before = self.app(app).slots[slot]
            if returns_from and before.intact:
                known = json.dumps({"slot": slot, "committed": before.committed, "left": returns_from})
                db.execute("INSERT INTO fact (name, value) VALUES (?, ?)", (_overwritten(app), known))
            db.execute("UPDATE slot SET intact = 0, committed = 0 WHERE app = ? AND name = ?", (app, slot))

    def overwritten(self, app: str) -> tuple[SlotRecord, str] | None:
        """The slot whose files can be changed back to those of its commit, and the commit that they were changed to."""
        known = json.loads(self.fact(_overwritten(app)) or "{}")
        return (self.app(app).slots[SlotName(known["slot"])], known["left"]) if known else None

    def forget_overwritten(self, app: str) -> None:
        """Note that what was overwritten is lost."""
        with self._write() as db:
            forget_overwritten_fact(db, app)

    def put_back(self, app: str) -> None:
        """Note that the slot which was overwritten is again what it was."""
        known = json.loads(self.fact(_overwritten(app)) or "{}")
        with self._write(durably=True) as db:
            db.execute(
                "UPDATE slot SET intact = 1, committed = ? WHERE app = ? AND name = ?",
                (known["committed"], app, known["slot"]),
            )
            forget_overwritten_fact(db, app)

    def built(self, app: str, slot: SlotName, commit: str) -> None:
        """Note that the slot's files are a finished build of `commit`."""
        with self._write(durably=self.overwritten(app) is not None) as db:
            forget_overwritten_fact(db, app)
            db.execute("UPDATE slot SET intact = 1, hash = ? WHERE app = ? AND name = ?", (commit, app, slot))


def _overwritten(app: str) -> str:
    """The name of the fact that tells of a slot which can be put back."""
    return f"overwritten:{app}"


def forget_overwritten_fact(db: sqlite3.Connection, app: str) -> None:
    """Do so in the transaction of `db`."""
    db.execute("DELETE FROM fact WHERE name = ?", (_overwritten(app),))
