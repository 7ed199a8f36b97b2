"""The table `deployment`: what was deployed, when, and what became of it."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from substitute.core.model.records import DeploymentRecord
from substitute.core.model.slots import SlotName
from substitute.core.state.journal.apps import Apps, end_standby
from substitute.values import replace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from substitute.core.model.records import Hold
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

    def judged(self, deployment: int, verdict: Mapping[str, object]) -> None:
        """Note how the canary of a deployment ended."""
        with self._write() as db:
            db.execute(
                "UPDATE deployment SET verdict = ? WHERE id = ?", (json.dumps(dict(verdict)), deployment)
            )

    def commit(
        self,
        app: str,
        slot: SlotName,
        *,
        deployment: int | None = None,
        now: float = 0.0,
        standby_until: float | None = None,
    ) -> None:
        """Make `slot` the live one, as `deployment` had it or as recovery found it: the one atomic write.

        With `standby_until`, the version before runs on until then, without requests. It is on the disk when this
        returns.
        """
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            end_standby(db, app)
            _end_hold(db, app, "promoted")
            db.execute("UPDATE slot SET committed = 1 WHERE app = ? AND name = ?", (app, slot))
            if standby_until is not None:
                db.execute(
                    "UPDATE slot SET standby = 1, standby_until = ? WHERE app = ? AND name <> ?",
                    (standby_until, app, slot),
                )
            db.execute("UPDATE deployment SET committed = ? WHERE id = ?", (now, deployment))

    def hold(self, app: str, hold: Hold, *, now: float) -> None:
        """Note that a candidate is ready, and waits for a person."""
        with self._write(durably=True) as db:
            db.execute(
                "INSERT OR REPLACE INTO hold (app, slot, deployment, until, token) VALUES (?, ?, ?, ?, ?)",
                (app, hold.slot, hold.deployment, hold.until, hold.token),
            )
            db.execute(
                "UPDATE deployment SET outcome = 'held', finished = ? WHERE id = ?", (now, hold.deployment)
            )

    def end_hold(self, app: str, *, reason: str = "") -> None:
        """Note that no candidate of `app` waits any more: it is not to become live."""
        with self._write(durably=True) as db:
            _end_hold(db, app, "aborted", reason)

    def commit_back(self, app: str, slot: SlotName) -> None:
        """Make `slot` the live one, since the other does not answer.

        What a deployment that is under way has committed there was then never live, for whoever looks back.
        """
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            end_standby(db, app)
            db.execute("DELETE FROM hold WHERE app = ? AND slot = ?", (app, slot))
            db.execute("UPDATE slot SET committed = 1 WHERE app = ? AND name = ?", (app, slot))
            db.execute(
                "UPDATE slot SET committed = 0 WHERE app = ? AND name <> ?"
                " AND name IN (SELECT slot FROM deployment WHERE app = ? AND outcome IS NULL)",
                (app, slot, app),
            )
            db.execute("UPDATE deployment SET committed = NULL WHERE app = ? AND outcome IS NULL", (app,))

    def finish(self, deployment: int, outcome: str, *, now: float, reason: str = "") -> None:
        """Close a deployment: ``succeeded``, ``failed`` or ``interrupted``.

        One that is held is ``held``, and later ``promoted`` or ``aborted``.
        """
        with self._write() as db:
            db.execute(
                "UPDATE deployment SET outcome = ?, finished = ?, reason = ? WHERE id = ?",
                (outcome, now, reason, deployment),
            )

    def history(self, app: str, limit: int = -1) -> list[DeploymentRecord]:
        """The deployments of an app, the latest first."""
        return list(islice(self.past(app), limit if limit >= 0 else None))

    def past(self, app: str) -> Iterator[DeploymentRecord]:
        """As `history`, one after the other: who has found what he looks for reads no further."""
        rows = self._db.execute(
            "SELECT *, hash IN (SELECT hash FROM kept WHERE app = :app) AS kept FROM deployment WHERE app = :app"
            " ORDER BY id DESC",
            {"app": app},
        )
        return (replace(load_deployment(row), kept=bool(row["kept"])) for row in rows)

    def deployment(self, number: int) -> DeploymentRecord | None:
        """The deployment of that number, of whatever app, or None."""
        row = self._db.execute("SELECT * FROM deployment WHERE id = ?", (number,)).fetchone()
        return load_deployment(row) if row else None

    def described(self, app: str, commit: str) -> DeploymentRecord | None:
        """The latest deployment of that commit, where its subject is known."""
        row = self._db.execute(
            "SELECT * FROM deployment WHERE app = ? AND hash = ? AND subject <> '' ORDER BY id DESC LIMIT 1",
            (app, commit),
        ).fetchone()
        return load_deployment(row) if row else None

    def latest(self, app: str) -> int:
        """The number of the latest deployment of `app`; 0 where there was none."""
        row = self._db.execute("SELECT max(id) AS latest FROM deployment WHERE app = ?", (app,)).fetchone()
        return int(row["latest"] or 0)

    def unfinished(self, app: str) -> list[DeploymentRecord]:
        """Deployments without an outcome: the one under way, or what a killed deployer left."""
        rows = self._db.execute("SELECT * FROM deployment WHERE app = ? AND outcome IS NULL", (app,))
        return [load_deployment(row) for row in rows]

    def rollback_commit(self, app: str, live_commit: str | None) -> str | None:
        """Return the commit that was live before: the latest that was committed and differs from the live one's."""
        row = self._db.execute(
            "SELECT hash FROM deployment WHERE app = ? AND hash IS NOT ?"
            # The version before this one knew outcomes only, and may be under way.
            " AND (committed IS NOT NULL OR outcome = 'succeeded') ORDER BY id DESC LIMIT 1",
            (app, live_commit),
        ).fetchone()
        return row["hash"] if row else None


def _end_hold(db: sqlite3.Connection, app: str, outcome: str, reason: str = "") -> None:
    db.execute(
        "UPDATE deployment SET outcome = ?, reason = ?"
        " WHERE outcome = 'held' AND id = (SELECT deployment FROM hold WHERE app = ?)",
        (outcome, reason, app),
    )
    db.execute("DELETE FROM hold WHERE app = ?", (app,))


def load_deployment(row: sqlite3.Row) -> DeploymentRecord:
    """The record that a row is."""
    killed_in_it = row["release_outcome"] == "running" and row["outcome"] is not None
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
        release_outcome="interrupted" if killed_in_it else row["release_outcome"],
        release_seconds=row["release_seconds"],
        release_guard=row["release_guard"],
        verdict=json.loads(row["verdict"]) if row["verdict"] else None,
    )
