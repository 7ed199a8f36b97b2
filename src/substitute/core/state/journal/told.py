"""What edges tell each other of an app: the rows that say what is live. Where requests go each one knows for itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from substitute.core.state.journal.database import Database

if TYPE_CHECKING:
    import sqlite3

_TABLES = {"app": "name", "slot": "app", "instance": "app", "deployment": "app", "hold": "app"}
"""Each with the column that has the app's name; what others refer to first."""
_KEYS = {"app": ("name",), "slot": ("app", "name"), "deployment": ("app", "started")}
"""By what a row is known again. A deployment has another number where that one is another app's already."""
_OWN = {"app": {"environment", "waits_since"}, "slot": {"share", "process"}}
"""What is of one edge alone."""
_LATEST = 100
"""So many deployments are told."""


class ToldOf(Database):
    """What was told of an app, and what is."""

    def state(self, app: str) -> str:
        """What there is to tell of `app`: the same text as long as nothing has changed."""
        found = {table: self._rows(table, key, app) for table, key in _TABLES.items()}
        return json.dumps(found, sort_keys=True)

    def _rows(self, table: str, key: str, app: str) -> list[dict[str, Any]]:
        query = _sql("SELECT * FROM", table, "WHERE", key, "= ? ORDER BY rowid DESC LIMIT ?")
        own = _OWN.get(table, set())
        return [
            {name: row[name] for name in row.keys() if name not in own}  # noqa: SIM118  # a row is no mapping
            for row in self._db.execute(query, (app, _LATEST))
        ]

    def word(self, app: str) -> tuple[str, str]:
        """The word that was told of `app` last, as far as this edge knows, and the state. Empty: none."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (_fact(app),)).fetchone()
        word, state = json.loads(row["value"]) if row else ("", "")
        return word, state

    def keep_word(self, app: str, word: str, state: str) -> None:
        """Note that this edge has told `state`."""
        with self._write(durably=True) as db:
            _keep_word(db, app, word, state)

    def follow(self, app: str, word: str, state: str) -> None:
        """Have the journal say of `app` what another edge has told; nothing else of it is kept but the shares."""
        told = json.loads(state)
        with self._write(durably=True) as db:
            shares = db.execute("SELECT name, share FROM slot WHERE app = ?", (app,)).fetchall()
            db.execute("DELETE FROM instance WHERE app = ?", (app,))
            db.execute("DELETE FROM hold WHERE app = ?", (app,))
            # What this edge had begun, and nobody was told of, is over.
            db.execute(
                "UPDATE deployment SET outcome = 'interrupted', reason = 'Another edge took over.'"
                " WHERE app = ? AND outcome IS NULL",
                (app,),
            )
            for table in _TABLES:
                for row in reversed(told.get(table, ())):
                    _put(db, table, _numbered(db, row, told) if table == "hold" else row)
            for row in shares:
                db.execute(
                    "UPDATE slot SET share = ? WHERE app = ? AND name = ?", (row["share"], app, row["name"])
                )
            _keep_word(db, app, word, self.state(app))


def _put(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    """Have the table have that row; the columns that this version of substitute knows."""
    known = {one["name"] for one in db.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    values = {name: value for name, value in row.items() if name in known}
    keys, found = _KEYS.get(table, ()), None
    if keys:
        where = " AND ".join(f"{key} = ?" for key in keys)
        found = db.execute(
            _sql("SELECT rowid FROM", table, "WHERE", where), [row[key] for key in keys]
        ).fetchone()
    if "id" in values and (found or _is_taken(db, values["id"])):
        del values["id"]
    if found:
        change = ", ".join(f"{name} = ?" for name in values)
        db.execute(_sql("UPDATE", table, "SET", change, "WHERE rowid = ?"), [*values.values(), found[0]])
    else:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        db.execute(_sql("INSERT INTO", table, "(", names, ") VALUES (", marks, ")"), list(values.values()))


def _is_taken(db: sqlite3.Connection, number: int) -> bool:
    return db.execute("SELECT 1 FROM deployment WHERE id = ?", (number,)).fetchone() is not None


def _sql(*words: str) -> str:
    """A statement of names that are the schema's own."""
    return " ".join(words)


def _numbered(db: sqlite3.Connection, hold: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """A hold, with the number that its deployment has here."""
    of = next((one for one in told["deployment"] if one["id"] == hold["deployment"]), None)
    here = (
        of
        and db.execute(
            "SELECT id FROM deployment WHERE app = ? AND started = ?", (of["app"], of["started"])
        ).fetchone()
    )
    return {**hold, "deployment": here["id"]} if here else hold


def _keep_word(db: sqlite3.Connection, app: str, word: str, state: str) -> None:
    db.execute(
        "INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (_fact(app), json.dumps([word, state]))
    )


def _fact(app: str) -> str:
    return f"told:{app}"
