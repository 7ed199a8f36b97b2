"""The table `drill`: what each drill came to."""

from __future__ import annotations

import json

from substitute.core.model.records import DrillRecord
from substitute.core.state.journal.database import Database
from substitute.values import asdict


class Drills(Database):
    """The drills of each app."""

    def add_drill(self, drill: DrillRecord) -> None:
        """Keep what a drill came to; its `id` is given here."""
        with self._write() as db:
            db.execute(
                "INSERT INTO drill (app, deployment, operation, started, seconds, requests, failed, exit, summary)"
                " VALUES (:app, :deployment, :operation, :started, :seconds, :requests, :failed, :exit, :summary)",
                {**asdict(drill), "summary": json.dumps(dict(drill.summary), default=str)},
            )

    def drills(self, app: str, limit: int = -1) -> list[DrillRecord]:
        """The drills of an app, the latest first."""
        rows = self._db.execute("SELECT * FROM drill WHERE app = ? ORDER BY id DESC LIMIT ?", (app, limit))
        return [DrillRecord(**{**dict(row), "summary": json.loads(row["summary"])}) for row in rows]
