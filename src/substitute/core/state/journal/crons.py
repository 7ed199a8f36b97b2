"""The table `run`, as the scheduler asks it: what was due, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.state.journal.runs import Runs, read_run

if TYPE_CHECKING:
    from substitute.core.model.records import RunRecord
    from substitute.core.model.slots import SlotName

_KEPT = 100
"""Runs of each cron that are kept, however old they are."""


class Crons(Runs):
    """The times of crons, each of which is in the table once."""

    def last_due(self, app: str, cron: str, *, until: float) -> float | None:
        """The latest time, not after `until`, for which a run of the cron is in the table, whatever became of it."""
        row = self._db.execute(
            "SELECT max(due) AS due FROM run WHERE app = ? AND cron = ? AND due <= ?", (app, cron, until)
        ).fetchone()
        return None if row["due"] is None else float(row["due"])

    def live_since(self, app: str, slot: SlotName, *, until: float) -> float | None:
        """When `slot` became live last, not after `until`, where that is known."""
        row = self._db.execute(
            "SELECT max(committed) AS since FROM deployment WHERE app = ? AND slot = ? AND committed <= ?",
            (app, slot, until),
        ).fetchone()
        return None if row["since"] is None else float(row["since"])

    def last_run(self, app: str, cron: str) -> RunRecord | None:
        """The latest run of a cron, whatever became of it."""
        row = self._db.execute(
            "SELECT * FROM run WHERE app = ? AND cron = ? ORDER BY id DESC LIMIT 1", (app, cron)
        ).fetchone()
        return read_run(row) if row else None

    def forget_runs_of_crons(self, before: float) -> None:
        """Forget those that began before the time `before`, but the latest of each cron."""
        with self._write() as db:
            db.execute(
                "DELETE FROM run WHERE cron <> '' AND outcome IS NOT NULL AND started < ? AND id <= ("
                "SELECT newer.id FROM run AS newer WHERE newer.app = run.app AND newer.cron = run.cron"
                " ORDER BY newer.id DESC LIMIT 1 OFFSET ?)",
                (before, _KEPT),
            )
