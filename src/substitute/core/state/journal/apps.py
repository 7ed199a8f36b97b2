"""The tables `app`, `slot` and `instance`: what is live, what runs in each slot, and what it was started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.app_settings import Waves
from substitute.core.model.endpoints import assign, ports_of
from substitute.core.model.errors import UsageError
from substitute.core.model.instances import InstanceRecord, web_instances
from substitute.core.model.records import AppRecord, Hold, SlotRecord
from substitute.core.model.slots import Slot, SlotName
from substitute.core.model.versions import Version, read, written
from substitute.core.state.journal.columns import dump_endpoints, dump_process, load_endpoints, load_process
from substitute.core.state.journal.facts import Facts
from substitute.values import replace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint


class Apps(Facts):
    """The apps of the root, and the slots of each."""

    _read: dict[str, AppRecord]
    """What was read since anybody has written."""
    _read_at: tuple[int, int] | None = None

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
        kept = {slot.name: slot.endpoints for slot in mine if slot.started}
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
        """Return the record of a registered app. It is read again when anybody has written."""
        written = self._written
        if written is None or written != self._read_at:
            self._read_at, self._read = written, {}
        if name not in self._read:
            self._read[name] = self._record(name)
        return self._read[name]

    def _record(self, name: str) -> AppRecord:
        row = self._db.execute(
            "SELECT app.live, app.stopped, app.hold AS longest_wait, app.waits_since, hold.* FROM app"
            " LEFT JOIN hold ON hold.app = app.name WHERE name = ?",
            (name,),
        ).fetchone()
        query = "SELECT * FROM instance WHERE app = ? ORDER BY type, number"
        instances = self._db.execute(query, (name,)).fetchall()
        rows = self._db.execute("SELECT * FROM slot WHERE app = ?", (name,)).fetchall()
        slots = (_slot(one, tuple(it for it in instances if it["slot"] == one["name"])) for one in rows)
        return AppRecord(
            name=name,
            live=SlotName(row["live"]) if row["live"] else None,
            stopped=bool(row["stopped"]),
            slots={slot.name: slot for slot in slots},
            hold=Hold(SlotName(row["slot"]), row["deployment"], row["until"], row["token"])
            if row["slot"]
            else None,
            longest_wait=row["longest_wait"],
            waits_since=row["waits_since"],
        )

    def names(self) -> list[str]:
        """Every app that was ever registered."""
        return [row["name"] for row in self._db.execute("SELECT name FROM app ORDER BY name")]

    def environment(self, app: str) -> dict[str, str]:
        """PATH, HOME and the like of the latest deploying command, so that `up` uses the same."""
        row = self._db.execute("SELECT environment FROM app WHERE name = ?", (app,)).fetchone()
        return dict(json.loads(row["environment"])) if row else {}

    def remember_environment(self, app: str, environment: Mapping[str, str]) -> None:
        """Record what `environment` returns; nothing is written where it is so already."""
        if self.environment(app) != environment:
            with self._write() as db:
                db.execute(
                    "UPDATE app SET environment = ? WHERE name = ?", (json.dumps(dict(environment)), app)
                )

    def waves(self, app: str) -> Waves | None:
        """In which waves the streams of `app` end, by the latest configuration that could be read."""
        known = self.fact(_waves(app))
        return Waves(*json.loads(known)) if known else None

    def starting(
        self, slot: SlotRecord, instances: Iterable[InstanceRecord], *, standby: bool = False
    ) -> None:
        """Note instances of `slot` that are about to be started, so that whoever finds them running knows them."""
        with self._write() as db:
            for one in instances:
                insert_instance(db, replace(one, process=None))
            db.execute(
                "UPDATE slot SET standby = ?, standby_until = NULL WHERE app = ? AND name = ?",
                (standby, slot.app, slot.name),
            )

    def running(self, instance: InstanceRecord, process: Process) -> None:
        """Note the process that an instance has."""
        with self._write() as db:
            insert_instance(db, replace(instance, process=process))

    def proven(self, slot: SlotRecord, version: Version) -> None:
        """Note what the instance of `slot` was started with, now that it is ready."""
        if version != slot.version:
            with self._write() as db:
                db.execute(
                    "UPDATE slot SET version = ? WHERE app = ? AND name = ?",
                    (written(version, slot.commit), slot.app, slot.name),
                )

    def ended(self, instances: Iterable[InstanceRecord]) -> None:
        """Note that some instances of a slot are no more; others of it run."""
        with self._write() as db:
            for one in instances:
                db.execute(
                    "DELETE FROM instance WHERE app = ? AND slot = ? AND type = ? AND number = ?",
                    (one.app, one.slot, one.process_type, one.number),
                )

    def gone(self, app: str, slot: SlotName) -> None:
        """Note that no instance of a slot runs any more."""
        with self._write() as db:
            forget_instances(db, app, slot)
            db.execute(
                "UPDATE slot SET standby = 0, standby_until = NULL, share = 0 WHERE app = ? AND name = ?",
                (app, slot),
            )

    def end_standby(self, app: str) -> None:
        """Note that nothing of the app is to run on without requests."""
        with self._write() as db:
            end_standby(db, app)

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
        directory = self.app(app).slots[slot].directory
        (instance,) = web_instances(app, slot, directory, endpoints)
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            db.execute(
                "UPDATE slot SET endpoints = ?, hash = ?, share = 100, intact = 0, standby = 0, standby_until = NULL,"
                " committed = 1, version = NULL WHERE app = ? AND name = ?",
                (dump_endpoints(endpoints), commit, app, slot),
            )
            forget_instances(db, app, slot)
            insert_instance(db, replace(instance, process=process))
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
            forget_instances(db, app, slot)
            db.execute(
                "UPDATE slot SET standby = 0, standby_until = NULL, share = 0, hash = NULL, committed = 0,"
                " version = NULL WHERE app = ? AND name = ?",
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
    db.execute("DELETE FROM fact WHERE name = ?", (_waves(app.name),))
    if app.drain.waves:
        known = json.dumps([app.drain.waves.after, app.drain.waves.over])
        db.execute("INSERT INTO fact (name, value) VALUES (?, ?)", (_waves(app.name), known))
    led = (json.dumps(app.domains), json.dumps(app.assets), app.hold if app.runs_once else None)
    db.execute("UPDATE app SET domains = ?, assets = ?, hold = ? WHERE name = ?", (*led, app.name))
    for slot in app.slots.values():
        where = (dump_endpoints(endpoints[slot.name]), slot.clustered, str(_place(db, app.name, slot)))
        limits = (app.drain.timeout, app.stop_timeout)
        db.execute(
            "INSERT OR IGNORE INTO slot"
            " (endpoints, clustered, directory, drain_timeout, stop_timeout, app, name)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*where, *limits, app.name, slot.name),
        )
        db.execute(
            "UPDATE slot SET endpoints = ?, clustered = ?, directory = ? WHERE app = ? AND name = ?"
            " AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.app = slot.app AND instance.slot = slot.name)",
            (*where, app.name, slot.name),
        )
        # How long is waited for what runs is said by today's configuration: it is edited when that takes too long.
        db.execute(
            "UPDATE slot SET drain_timeout = ?, stop_timeout = ? WHERE app = ? AND name = ?",
            (*limits, app.name, slot.name),
        )


def _waves(app: str) -> str:
    return f"waves:{app}"


def _place(db: sqlite3.Connection, app: str, slot: Slot) -> Path:
    """The directory of a slot: the root is the configuration's matter, the name that of the version in it."""
    known = db.execute("SELECT directory FROM slot WHERE app = ? AND name = ?", (app, slot.name)).fetchone()
    return slot.directory.with_name(Path(known["directory"]).name) if known else slot.directory


def insert_instance(db: sqlite3.Connection, one: InstanceRecord) -> None:
    """Write the row of `one`, in the transaction of `db`."""
    db.execute(
        "INSERT OR REPLACE INTO instance (app, slot, type, number, name, endpoints, process)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(one.app, one.slot, one.process_type, one.number, one.name),
            *(dump_endpoints(one.endpoints), one.process and dump_process(one.process)),
        ),
    )


def end_standby(db: sqlite3.Connection, app: str) -> None:
    """Note that no slot of `app` is to run without requests, in the transaction of `db`."""
    db.execute("UPDATE slot SET standby = 0, standby_until = NULL WHERE app = ?", (app,))


def forget_instances(db: sqlite3.Connection, app: str, slot: SlotName) -> None:
    """Note that nothing of `slot` runs, in the transaction of `db`."""
    db.execute("DELETE FROM instance WHERE app = ? AND slot = ?", (app, slot))


def _slot(row: sqlite3.Row, instances: tuple[sqlite3.Row, ...]) -> SlotRecord:
    directory = Path(row["directory"])
    return SlotRecord(
        app=row["app"],
        name=SlotName(row["name"]),
        directory=directory,
        endpoints=load_endpoints(row["endpoints"]),
        share=row["share"],
        commit=row["hash"],
        intact=bool(row["intact"]),
        committed=bool(row["committed"]),
        standby=bool(row["standby"]),
        drain_timeout=row["drain_timeout"],
        stop_timeout=row["stop_timeout"],
        version=read(row["version"], row["hash"]),
        started=tuple(_instance(one, directory) for one in instances),
        standby_until=row["standby_until"],
        clustered=bool(row["clustered"]),
    )


def _instance(row: sqlite3.Row, directory: Path) -> InstanceRecord:
    return InstanceRecord(
        app=row["app"],
        slot=SlotName(row["slot"]),
        directory=directory,
        process_type=row["type"],
        number=row["number"],
        name=row["name"],
        endpoints=load_endpoints(row["endpoints"]),
        process=load_process(row["process"]),
    )
