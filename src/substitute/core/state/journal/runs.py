"""The table `run`: one-off commands, and what cron runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.records import RunRecord
from substitute.core.model.slots import SlotName
from substitute.core.state.journal.columns import dump_process, load_process
from substitute.core.state.journal.database import Database

if TYPE_CHECKING:
    import sqlite3

    from substitute.core.model.programs import Process


class Runs(Database):
    """Commands that run beside the instances of a slot, and need its files."""

    def begin_run(self, run: RunRecord, *, live: bool = False) -> int | None:
        """Note a run before it starts; its number.

        None where it was begun for that time already, and, with `live`, where its slot is not the live one (any more).
        """
        process = dump_process(run.process) if run.process else None
        with self._write() as db:
            cursor = db.execute(
                "INSERT OR IGNORE INTO run"
                " (app, slot, cron, command, user, detached, due, started, finished, outcome, process)"
                " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
                " WHERE NOT ? OR EXISTS (SELECT 1 FROM app WHERE name = ? AND live = ?)",
                (
                    *(run.app, run.slot, run.cron, run.command, run.user, run.detached),
                    *(run.due, run.started, run.finished, run.outcome, process),
                    *(live, run.app, run.slot),
                ),
            )
            return int(cursor.lastrowid or 0) if cursor.rowcount else None

    def run_started(self, number: int, process: Process) -> bool:
        """Note the leader of its process group. False where the run was given up for lost meanwhile."""
        with self._write() as db:
            cursor = db.execute(
                "UPDATE run SET process = ? WHERE id = ? AND outcome IS NULL", (dump_process(process), number)
            )
            return cursor.rowcount == 1

    def finish_run(self, number: int, outcome: str, *, now: float, status: int | None = None) -> None:
        """Note how a run ended; what was noted first of its end holds."""
        with self._write() as db:
            db.execute(
                "UPDATE run SET outcome = ?, status = ?, finished = ? WHERE id = ? AND outcome IS NULL",
                (outcome, status, now, number),
            )

    def run(self, number: int) -> RunRecord | None:
        """The run of that number."""
        row = self._db.execute("SELECT * FROM run WHERE id = ?", (number,)).fetchone()
        return read_run(row) if row else None

    def runs(self, app: str) -> list[RunRecord]:
        """Those of an app that have no outcome: under way, or left by who was killed."""
        rows = self._db.execute("SELECT * FROM run WHERE app = ? AND outcome IS NULL ORDER BY id", (app,))
        return [read_run(row) for row in rows]

    def past_runs(self, app: str, *, cron: bool, limit: int = -1) -> list[RunRecord]:
        """The runs of an app, the latest first: those of its crons, or those that somebody typed."""
        rows = self._db.execute(
            "SELECT * FROM run WHERE app = ? AND (cron <> '') = ? ORDER BY id DESC LIMIT ?",
            (app, cron, limit),
        )
        return [read_run(row) for row in rows]


def read_run(row: sqlite3.Row) -> RunRecord:
    """The run of a row."""
    known = {name: row[name] for name in row.keys()}  # noqa: SIM118  # of a row, not of a mapping
    return RunRecord(
        **{
            **known,
            "slot": SlotName(row["slot"]),
            "detached": bool(row["detached"]),
            "process": load_process(row["process"]),
        }
    )
