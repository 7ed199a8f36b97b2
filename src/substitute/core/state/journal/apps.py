"""The tables `app` and `slot`: what is live, what runs in each slot, and what it was started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.endpoints import assign, ports_of
from substitute.core.model.errors import UsageError
from substitute.core.model.records import AppRecord, SlotRecord
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.model.versions import Version, read, written
from substitute.core.state.journal.columns import dump_endpoints, dump_process, load_process
from substitute.core.state.journal.facts import Facts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process


class Apps(Facts):
    """The apps of the root, and the slots of each."""

    def register(self, app: App) -> None:
        """Take over what the configuration says of `app`, except for the places of slots that run."""
        with self._write() as db:
            register(db, app, self._endpoints(app))

    def _endpoints(self, app: App) -> dict[SlotName, tuple[Endpoint, ...]]:
        """Each slot's. No app gets a port that another one still uses: one that was renamed is another one."""
        known = {name: self.app(name) for name in self.names()}
        mine = known.pop(app.name).slots.values() if app.name in known else ()
        used = {
            name: ports_of(slot.endpoints for slot in other.slots.values() if slot.in_use)
            for name, other in known.items()
        }
        kept = {slot.name: slot.endpoints for slot in mine if slot.process}
        found = assign(app, kept, {port for ports in used.values() for port in ports})
        for name, ports in used.items():
            if not kept and (taken := ports & ports_of(found.values())):
                raise UsageError(
                    f"Port {min(taken)} of {app.name} is that of {name}, which still runs under its old name.",
                    cure=f"Call it {name} in substitute.toml again. Or rename it with a moment of downtime: type "
                    f"`substitute down -a {name}`, then `substitute deploy`.",
                )
        return found

    def app(self, name: str) -> AppRecord:
        """Return the record of a registered app."""
        row = self._db.execute("SELECT * FROM app WHERE name = ?", (name,)).fetchone()
        slots = {
            record.name: record
            for record in map(_slot, self._db.execute("SELECT * FROM slot WHERE app = ?", (name,)))
        }
        return AppRecord(
            name=name,
            live=SlotName(row["live"]) if row["live"] else None,
            stopped=bool(row["stopped"]),
            slots=slots,
        )

    def names(self) -> list[str]:
        """Every app that was ever registered."""
        return [row["name"] for row in self._db.execute("SELECT name FROM app ORDER BY name")]

    def environment(self, app: str) -> dict[str, str]:
        """PATH, HOME and the like of the latest deploying command, so that `up` uses the same."""
        row = self._db.execute("SELECT environment FROM app WHERE name = ?", (app,)).fetchone()
        return dict(json.loads(row["environment"])) if row else {}

    def remember_environment(self, app: str, environment: Mapping[str, str]) -> None:
        """Record what `environment` returns."""
        with self._write() as db:
            db.execute("UPDATE app SET environment = ? WHERE name = ?", (json.dumps(dict(environment)), app))

    def running(self, app: str, slot: SlotName, process: Process, *, standby: bool = False) -> None:
        """Note the process that a slot's instance has."""
        with self._write() as db:
            db.execute(
                "UPDATE slot SET process = ?, standby = ? WHERE app = ? AND name = ?",
                (dump_process(process), standby, app, slot),
            )

    def proven(self, slot: SlotRecord, version: Version) -> None:
        """Note what the instance of `slot` was started with, now that it is ready."""
        if version != slot.version:
            with self._write() as db:
                db.execute(
                    "UPDATE slot SET version = ? WHERE app = ? AND name = ?",
                    (written(version, slot.commit), slot.app, slot.name),
                )

    def gone(self, app: str, slot: SlotName) -> None:
        """Note that a slot's instance is no more."""
        with self._write() as db:
            db.execute(
                "UPDATE slot SET process = NULL, standby = 0, share = 0 WHERE app = ? AND name = ?",
                (app, slot),
            )

    def stop_by_hand(self, app: str, *, stopped: bool) -> None:
        """Note that the app is (no longer) meant to be stopped."""
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET stopped = ? WHERE name = ?", (stopped, app))

    def give_up(self, app: str) -> None:
        """Note that nothing of the app is live any more: it was removed from the configuration, and taken down."""
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = NULL, stopped = 0 WHERE name = ?", (app,))

    def adopt(  # one transaction
        self,
        app: str,
        slot: SlotName,
        process: Process,
        *,
        endpoints: tuple[Endpoint, ...],
        commit: str | None,
        fact: tuple[str, str],
        now: float,
    ) -> None:
        """Make a program live that was not started here; `fact` is what is remembered of it. No build of it is here."""
        places = dump_endpoints(endpoints)
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            db.execute(
                "UPDATE slot SET process = ?, endpoints = ?, hash = ?, share = 100, intact = 0, standby = 0,"
                " committed = 1, version = NULL WHERE app = ? AND name = ?",
                (dump_process(process), places, commit, app, slot),
            )
            db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", fact)
            db.execute(
                "INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome)"
                " VALUES (?, 'adopt', ?, ?, ?, ?, ?, 'succeeded')",
                (app, slot, commit, now, now, now),
            )

    def leave(self, app: str, slot: SlotName, fact: str, *, live: SlotName | None) -> None:
        """Note that what was adopted in `slot` is no more, or never was: `live` is live. Its commit was never here."""
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ? WHERE name = ?", (live, app))
            db.execute(
                "UPDATE slot SET process = NULL, standby = 0, share = 0, hash = NULL, committed = 0, version = NULL"
                " WHERE app = ? AND name = ?",
                (app, slot),
            )
            db.execute("DELETE FROM fact WHERE name = ?", (fact,))
            if live is None:
                db.execute(
                    "DELETE FROM deployment WHERE id ="
                    " (SELECT max(id) FROM deployment WHERE app = ? AND operation = 'adopt')",
                    (app,),
                )


def register(db: sqlite3.Connection, app: App, endpoints: Mapping[SlotName, tuple[Endpoint, ...]]) -> None:
    """Write the rows of `app`, and of each of its slots unless it runs, in the transaction of `db`."""
    db.execute("INSERT OR IGNORE INTO app (name) VALUES (?)", (app.name,))
    db.execute("UPDATE app SET domains = ? WHERE name = ?", (json.dumps(app.domains), app.name))
    for slot in app.slots.values():
        where = (dump_endpoints(endpoints[slot.name]), str(slot.directory))
        limits = (app.drain_timeout, app.stop_timeout)
        db.execute(
            "INSERT OR IGNORE INTO slot"
            " (endpoints, directory, drain_timeout, stop_timeout, app, name)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (*where, *limits, app.name, slot.name),
        )
        db.execute(
            "UPDATE slot SET endpoints = ?, directory = ? WHERE app = ? AND name = ? AND process IS NULL",
            (*where, app.name, slot.name),
        )
        # How long is waited for what runs is said by today's configuration: it is edited when that takes too long.
        db.execute(
            "UPDATE slot SET drain_timeout = ?, stop_timeout = ? WHERE app = ? AND name = ?",
            (*limits, app.name, slot.name),
        )


def _slot(row: sqlite3.Row) -> SlotRecord:
    return SlotRecord(
        app=row["app"],
        name=SlotName(row["name"]),
        directory=Path(row["directory"]),
        endpoints=tuple(Endpoint(host, port) for host, port in json.loads(row["endpoints"])),
        share=row["share"],
        commit=row["hash"],
        intact=bool(row["intact"]),
        committed=bool(row["committed"]),
        process=load_process(row["process"]),
        standby=bool(row["standby"]),
        drain_timeout=row["drain_timeout"],
        stop_timeout=row["stop_timeout"],
        version=read(row["version"], row["hash"]),
    )
