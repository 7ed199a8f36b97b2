"""The table `deployment`: what was deployed, when, and what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.model.records import DeploymentRecord
from substitute.core.model.slots import SlotName
from substitute.core.state.journal.apps import Apps

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from substitute.core.ports.source import Revision


class Deployments(Apps):
    """The deployments; the commit of one is the point of no return."""

    def begin(  # one row
        self,
        app: str,
        slot: SlotName,
        operation: str,
        *,
        revision: Revision,
        previous: str | None,
        user: str = "",
        now: float,
    ) -> int:
        """Begin a deployment; its number is returned."""
        with self._write(durably=True) as db:
            cursor = db.execute(
                "INSERT INTO deployment (app, operation, slot, hash, subject, how, tag, previous, user, started)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(app, operation, slot, revision.commit, revision.subject, revision.how, revision.tag),
                    *(previous, user, now),
                ),
            )
            return int(cursor.lastrowid or 0)

    def reached(self, deployment: int, phase: str, seconds: Mapping[str, float]) -> None:
        """Note the phase that a deployment has come to, and the times so far."""
        with self._write() as db:
            db.execute(
                "UPDATE deployment SET phase = ?, seconds = ? WHERE id = ?",
                (phase, json.dumps(dict(seconds)), deployment),
            )

    def commit(self, app: str, slot: SlotName, *, deployment: int | None = None, now: float = 0.0) -> None:
        """Make `slot` the live one, as `deployment` had it or as recovery found it: the one atomic write.

        It is on the disk when this returns.
        """
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            db.execute("UPDATE slot SET standby = 0, committed = 1 WHERE app = ? AND name = ?", (app, slot))
            db.execute("UPDATE deployment SET committed = ? WHERE id = ?", (now, deployment))

    def commit_back(self, app: str, slot: SlotName) -> None:
        """Make `slot` the live one, since the other does not answer.

        What a deployment that is under way has committed there was then never live, for whoever looks back.
        """
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            db.execute("UPDATE slot SET standby = 0, committed = 1 WHERE app = ? AND name = ?", (app, slot))
            db.execute(
                "UPDATE slot SET committed = 0 WHERE app = ? AND name <> ?"
                " AND name IN (SELECT slot FROM deployment WHERE app = ? AND outcome IS NULL)",
                (app, slot, app),
            )
            db.execute("UPDATE deployment SET committed = NULL WHERE app = ? AND outcome IS NULL", (app,))

    def finish(self, deployment: int, outcome: str, *, now: float, reason: str = "") -> None:
        """Close a deployment: ``succeeded``, ``failed`` or ``interrupted``."""
        with self._write() as db:
            db.execute(
                "UPDATE deployment SET outcome = ?, finished = ?, reason = ? WHERE id = ?",
                (outcome, now, reason, deployment),
            )

    def history(self, app: str, limit: int = -1) -> list[DeploymentRecord]:
        """The deployments of an app, the latest first."""
        rows = self._db.execute(
            "SELECT * FROM deployment WHERE app = ? ORDER BY id DESC LIMIT ?", (app, limit)
        )
        return [_deployment(row) for row in rows]

    def deployment(self, number: int) -> DeploymentRecord | None:
        """The deployment of that number, of whatever app, or None."""
        row = self._db.execute("SELECT * FROM deployment WHERE id = ?", (number,)).fetchone()
        return _deployment(row) if row else None

    def unfinished(self, app: str) -> list[DeploymentRecord]:
        """Deployments without an outcome: the one under way, or what a killed deployer left."""
        rows = self._db.execute("SELECT * FROM deployment WHERE app = ? AND outcome IS NULL", (app,))
        return [_deployment(row) for row in rows]

    def rollback_commit(self, app: str, live_commit: str | None) -> str | None:
        """Return the commit that was live before: the latest that was committed and differs from the live one's."""
        row = self._db.execute(
            "SELECT hash FROM deployment WHERE app = ? AND hash IS NOT ?"
            # The version before this one knew outcomes only, and may be under way.
            " AND (committed IS NOT NULL OR outcome = 'succeeded') ORDER BY id DESC LIMIT 1",
            (app, live_commit),
        ).fetchone()
        return row["hash"] if row else None


def _deployment(row: sqlite3.Row) -> DeploymentRecord:
    return DeploymentRecord(
        id=row["id"],
        app=row["app"],
        operation=row["operation"],
        slot=SlotName(row["slot"]),
        commit=row["hash"],
        previous=row["previous"],
        started=row["started"],
        finished=row["finished"],
        outcome=row["outcome"],
        phase=row["phase"],
        reason=row["reason"],
        seconds=json.loads(row["seconds"]),
        subject=row["subject"],
        how=row["how"],
        tag=row["tag"],
        user=row["user"],
    )
