"""The table `release`: directories that no slot uses, each with a version that is kept, or to be removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.state.journal.builds import Builds, forget_overwritten_fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import SlotName


class KeptVersions(Builds):
    """Where the versions of an app are. A directory is a slot's, or it is here."""

    def places(self, app: str) -> list[Path]:
        """All directories that hold, or held, a version: the slots' first."""
        rows = self._db.execute(
            "SELECT directory FROM slot WHERE app = ? UNION ALL SELECT directory FROM release WHERE app = ?",
            (app, app),
        )
        return [Path(row["directory"]) for row in rows]

    def kept(self, app: str) -> dict[str, Path]:
        """The commits that are kept beside the slots', each with its directory."""
        rows = self._db.execute(
            "SELECT hash, directory FROM release WHERE app = ? AND hash IS NOT NULL", (app,)
        )
        return {row["hash"]: Path(row["directory"]) for row in rows}

    def kept_commits(self, app: str) -> list[str]:
        """All that can be started without being built, those of the slots too."""
        rows = self._db.execute("SELECT hash FROM kept WHERE app = ? ORDER BY hash", (app,))
        return [row["hash"] for row in rows]

    def images(self, app: str) -> set[str]:
        """The ids of the images of all versions that can be started without being built."""
        rows = self._db.execute(
            "SELECT version FROM slot WHERE app = ? UNION ALL"
            " SELECT version FROM release WHERE app = ? AND hash IS NOT NULL",
            (app, app),
        )
        return {json.loads(row["version"]).get("image_id", "") for row in rows if row["version"]} - {""}

    def discarded(self, app: str) -> list[Path]:
        """The directories that are to be removed."""
        rows = self._db.execute("SELECT directory FROM release WHERE app = ? AND hash IS NULL", (app,))
        return [Path(row["directory"]) for row in rows]

    def versions(self, app: str, limit: int = -1) -> list[str]:
        """The commits that were live, the latest first."""
        rows = self._db.execute(
            "SELECT hash FROM deployment WHERE app = ? AND hash IS NOT NULL"
            " AND (committed IS NOT NULL OR outcome = 'succeeded') ORDER BY id DESC",
            (app,),
        )
        found = dict[str, None]()
        for row in rows:  # no further than that there are enough
            if len(found) == limit:
                break
            found.setdefault(row["hash"])
        return list(found)

    def move_on(self, slot: SlotRecord, directory: Path) -> None:
        """Have the slot go on in `directory`, which is about to be filled; what it held is kept, if it was live."""
        with self._write(durably=True) as db:
            forget_overwritten_fact(db, slot.app)
            _let_go(db, slot)
            _hold(db, slot.app, slot.name, directory)
            db.execute(
                "UPDATE slot SET intact = 0, committed = 0 WHERE app = ? AND name = ?", (slot.app, slot.name)
            )

    def take_up(self, slot: SlotRecord, commit: str) -> None:
        """Have the slot hold `commit`, which is kept; what it held takes its place there."""
        with self._write(durably=True) as db:
            forget_overwritten_fact(db, slot.app)
            kept = db.execute(
                "SELECT directory, version FROM release WHERE app = ? AND hash = ?", (slot.app, commit)
            ).fetchone()
            _let_go(db, slot)
            _hold(db, slot.app, slot.name, Path(kept["directory"]))
            db.execute(
                "UPDATE slot SET hash = ?, intact = 1, committed = 1, version = ? WHERE app = ? AND name = ?",
                (commit, kept["version"], slot.app, slot.name),
            )

    def discard(self, app: str, commits: Collection[str]) -> None:
        """Have all go but `commits`; on the disk before anything is removed."""
        going = [commit for commit in self.kept(app) if commit not in commits]
        if going:
            with self._write(durably=True) as db:
                for commit in going:
                    db.execute("UPDATE release SET hash = NULL WHERE app = ? AND hash = ?", (app, commit))

    def forget_release(self, app: str, directory: Path) -> None:
        """Note that a directory is no longer one of ours."""
        with self._write() as db:
            db.execute("DELETE FROM release WHERE app = ? AND directory = ?", (app, str(directory)))


def _let_go(db: sqlite3.Connection, slot: SlotRecord) -> None:
    """Enter the directory of `slot` here: with its version where that was live, else as one to be removed."""
    keeps = slot.intact and slot.committed
    if keeps:  # one of each commit is enough
        db.execute("UPDATE release SET hash = NULL WHERE app = ? AND hash = ?", (slot.app, slot.commit))
    db.execute(
        "INSERT OR REPLACE INTO release (app, directory, hash, version)"
        " SELECT app, directory, ?, version FROM slot WHERE app = ? AND name = ?",
        (slot.commit if keeps else None, slot.app, slot.name),
    )


def _hold(db: sqlite3.Connection, app: str, slot: SlotName, directory: Path) -> None:
    db.execute("DELETE FROM release WHERE app = ? AND directory = ?", (app, str(directory)))
    db.execute("UPDATE slot SET directory = ? WHERE app = ? AND name = ?", (str(directory), app, slot))
