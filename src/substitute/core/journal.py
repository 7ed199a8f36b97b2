"""The durable record of what is live and what is under way: one SQLite file.

Write-ahead logging makes every transaction atomic whatever is killed. The writes that a power cut must not undo
also wait for the disk (``synchronous = FULL``): the beginning of a deployment, that its slot is no finished build
any more, its commit, and what is stopped by hand.

A file that is damaged is set aside, and an empty one takes its place; `core.recollection` fills it from what is
observed. On a full disk a reserve is given up, so that what is under way can still be settled.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.endpoints import assign, ports_of
from substitute.core.errors import JournalError, SubstituteError, UsageError
from substitute.core.interrupts import whole
from substitute.core.lock import own_lock, short_lock
from substitute.core.ports import Backend, Process, Revision, Server
from substitute.core.records import AppRecord, DeploymentRecord, DrillRecord, GuestRecord, SlotRecord
from substitute.core.slots import Endpoint, SlotName
from substitute.core.versions import read, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from substitute.core.apps import App
    from substitute.core.versions import Version

_SCHEMAS = (
    """
CREATE TABLE IF NOT EXISTS app (
    name TEXT PRIMARY KEY, live TEXT, stopped INTEGER NOT NULL DEFAULT 0,
    domains TEXT NOT NULL DEFAULT '[]',
    environment TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS slot (
    app TEXT NOT NULL REFERENCES app, name TEXT NOT NULL, directory TEXT NOT NULL, endpoints TEXT NOT NULL,
    share INTEGER NOT NULL DEFAULT 0, hash TEXT, intact INTEGER NOT NULL DEFAULT 0,
    process TEXT, standby INTEGER NOT NULL DEFAULT 0,
    drain_timeout REAL NOT NULL, stop_timeout REAL NOT NULL, PRIMARY KEY (app, name));
CREATE TABLE IF NOT EXISTS deployment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, operation TEXT NOT NULL, slot TEXT NOT NULL,
    hash TEXT, previous TEXT, started REAL NOT NULL, finished REAL, outcome TEXT,
    phase TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', seconds TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS command (app TEXT NOT NULL, process TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS guest (
    name TEXT PRIMARY KEY, directory TEXT NOT NULL, port INTEGER NOT NULL,
    command TEXT NOT NULL, process TEXT);
CREATE TABLE IF NOT EXISTS drill (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, deployment INTEGER, operation TEXT,
    started REAL NOT NULL, seconds REAL NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
    exit INTEGER NOT NULL, summary TEXT NOT NULL);
""",
    # The root's own facts; what a slot's version was proven with, and whether it was ever live; when a deployment
    # was committed, what it was of, and who typed it; what a guest was started with.
    """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
ALTER TABLE slot ADD COLUMN version TEXT;
ALTER TABLE slot ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN committed REAL;
ALTER TABLE deployment ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN how TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN tag TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN user TEXT NOT NULL DEFAULT '';
ALTER TABLE guest ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
UPDATE deployment SET committed = finished WHERE outcome = 'succeeded';
UPDATE slot SET committed = 1
    WHERE name = (SELECT live FROM app WHERE app.name = slot.app) OR EXISTS (
        SELECT 1 FROM deployment AS past WHERE past.app = slot.app AND past.slot = slot.name
            AND past.hash = slot.hash AND past.committed IS NOT NULL);
""",
)
"""What takes a journal from each version of the schema to the next; the first makes an empty file a journal.

Columns are only added, and `INSERT` names its columns: a command of the version before that is still under way goes on.
"""
VERSION = len(_SCHEMAS)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_RESERVE = 1 << 20
"""Bytes kept for a full disk: to settle takes some transactions and the balancer's file."""
_ENOUGH = _RESERVE // 4
"""Bytes that a disk which is not full has left."""


class _DamagedError(sqlite3.DatabaseError):
    """What is in the file is no journal any more."""


class Journal:
    """The only state that `settle` believes. Each method that writes is one transaction."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the journal at `path` (mode 0600). A damaged file is set aside: see `damaged`.

        Raises SubstituteError where it cannot be used, or was written by a newer version of this program.
        """
        self.path = path
        self.damaged: Path | None = None
        """Where a damaged journal was put, that this one has taken the place of."""
        self._reserve = path.with_name("journal.reserve")
        self._make_room()
        try:
            try:
                self._open()
            except _DamagedError:
                self._replace()
        except (OSError, sqlite3.Error) as error:
            raise SubstituteError(
                f"The journal {path} cannot be used.",
                fact=str(error),
                cure="Give this user write access to it and room on its disk.",
            ) from error
        self._keep_reserve()

    def _open(self) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            self._db.row_factory = sqlite3.Row
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            if _primary(error) in _DAMAGE:
                raise _DamagedError(*error.args) from error
            raise
        except SubstituteError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _DamagedError(found)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise SubstituteError(
                f"The journal {self.path} was written by a newer version of substitute.",
                fact=f"Its schema is {version}; this version knows {VERSION}.",
                cure="Use that version again, or a later one. Nothing was changed.",
            )
        if version < VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        """Bring the schema up to date in one transaction: killed in its middle, it was never begun."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            # Asked again, now that no other command can be upgrading it.
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            for script in _SCHEMAS[version:]:
                for statement in filter(str.strip, script.split(";")):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _replace(self) -> None:
        """Set the damaged file aside, unless another command has done so meanwhile."""
        with short_lock(self.path.with_name(own_lock("journal"))):
            try:
                self._open()
            except _DamagedError:
                aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
                self.path.rename(aside)
                for ending in ("-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        self.path.with_name(self.path.name + ending).rename(
                            aside.with_name(aside.name + ending)
                        )
                self.damaged = aside
                self._open()

    def _keep_reserve(self) -> None:
        """Take room for a full disk, while there is some."""
        with suppress(OSError):
            if self._reserve.exists() and self._reserve.stat().st_size >= _RESERVE:
                return  # a smaller one is of a command that was killed while it took it
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _RESERVE)
            except OSError:
                self._reserve.unlink()
            finally:
                os.close(descriptor)

    def _make_room(self) -> None:
        """Give the reserve up where the disk is full, before it is needed: half a transaction can't be repeated."""
        with suppress(OSError):
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < _ENOUGH:
                self._reserve.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _write(self, *, durably: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, which no signal cuts in two. Whatever has become of an earlier one, this one begins."""
        self._make_room()
        try:
            with whole:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durably else 'NORMAL'}")
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                finally:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise JournalError(
                f"The journal {self.path} cannot be written.",
                fact=str(error),
                cure="Give this user write access to it and room on its disk.",
            ) from error

    # -- the root -------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """What is remembered of the root itself under `name`, or None."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def remember(self, name: str, value: str) -> None:
        """Record what `fact` returns; nothing is written where it is so already."""
        if self.fact(name) != value:
            with self._write(durably=True) as db:
                db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))

    def settle_in(self, root: str, *, keep: bool = False) -> None:
        """Note that the root is now in `root`; what ran where it was runs no more, unless `keep` says so."""
        with self._write(durably=True) as db:
            _move(db, root)
            if not keep:
                db.execute("DELETE FROM fact")
                db.execute("DELETE FROM command")
                db.execute("UPDATE slot SET process = NULL, standby = 0")
                db.execute("UPDATE guest SET process = NULL")

    def begin_anew(self, root: str) -> None:
        """Note that this is the journal of a copy in `root`: it has a history and files, and nothing is live.

        What was built elsewhere may lead there by its paths, so it is built again.
        """
        with self._write(durably=True) as db:
            _move(db, root)
            db.execute("DELETE FROM fact")
            db.execute("DELETE FROM command")
            db.execute("DELETE FROM guest")
            db.execute("UPDATE app SET live = NULL, stopped = 0")
            db.execute(
                "UPDATE slot SET process = NULL, standby = 0, share = 0, intact = 0, committed = 0, version = NULL"
            )
            db.execute(
                "UPDATE deployment SET outcome = 'interrupted', reason = 'The root was copied.' WHERE outcome IS NULL"
            )

    def forget_facts(self) -> None:
        """Forget all that `remember` recorded: it was of another machine."""
        with self._write(durably=True) as db:
            db.execute("DELETE FROM fact")

    # -- apps and slots -------------------------------------------------------------------------

    def register(self, app: App) -> None:
        """Take over what the configuration says of `app`, except for the places of slots that run."""
        with self._write() as db:
            _register(db, app, self._endpoints(app))

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

    def restore(self, found: Iterable[tuple[App, AppRecord]], *, now: float) -> None:
        """Fill an empty journal with what was observed: all apps in one transaction, so that none is forgotten.

        What is live counts as deployed and as a finished build: there is something to go back to.
        """
        with self._write(durably=True) as db:
            for app, record in found:
                _register(db, app, {name: slot.endpoints for name, slot in app.slots.items()})
                for slot in record.slots.values():
                    db.execute(
                        "UPDATE slot SET share = ?, hash = ?, intact = ?, committed = ?, process = ?"
                        " WHERE app = ? AND name = ?",
                        (
                            *(slot.share, slot.commit, slot.intact, slot.name is record.live),
                            *(slot.process and _dump(slot.process), app.name, slot.name),
                        ),
                    )
                db.execute("UPDATE app SET live = ? WHERE name = ?", (record.live, app.name))
                if record.live_slot and record.live_slot.commit:
                    db.execute(
                        "INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome)"
                        " VALUES (?, 'found', ?, ?, ?, ?, ?, 'succeeded')",
                        (app.name, record.live, record.live_slot.commit, now, now, now),
                    )

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

    def domains(self, app: str) -> tuple[str, ...]:
        """Which requests are for `app`, as its configuration last said."""
        row = self._db.execute("SELECT domains FROM app WHERE name = ?", (app,)).fetchone()
        return tuple(json.loads(row["domains"]))

    def backends(self) -> list[Backend]:
        """What is desired of the balancer, for all apps of the root."""
        found = []
        rows = self._db.execute("SELECT name, domains FROM app ORDER BY name").fetchall()
        records = [self.app(row["name"]) for row in rows]
        slots = [slot for record in records for slot in record.slots.values()]
        users = {endpoint: slot.instance for slot in slots if slot.in_use for endpoint in slot.endpoints}
        for row, record in zip(rows, records, strict=True):
            begun = {deployment.slot for deployment in self.unfinished(record.name)}
            servers = tuple(
                Server(slot.name, endpoint, slot.share, claimed=slot.in_use or slot.name in begun)
                for slot in sorted(record.slots.values(), key=lambda slot: slot.name)
                for endpoint in slot.endpoints
                # An idle one may still be said to have what another app was given since.
                if users.get(endpoint, slot.instance) == slot.instance
            )
            found.append(Backend(record.name, tuple(json.loads(row["domains"])), servers))
        return [backend for backend in found if not _is_left_behind(backend, found)]

    def environment(self, app: str) -> dict[str, str]:
        """PATH, HOME and the like of the latest deploying command, so that `up` uses the same."""
        row = self._db.execute("SELECT environment FROM app WHERE name = ?", (app,)).fetchone()
        return dict(json.loads(row["environment"])) if row else {}

    def remember_environment(self, app: str, environment: Mapping[str, str]) -> None:
        """Record what `environment` returns."""
        with self._write() as db:
            db.execute("UPDATE app SET environment = ? WHERE name = ?", (json.dumps(dict(environment)), app))

    def share(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Set the desired shares of the new requests."""
        with self._write() as db:
            for slot, share in shares.items():
                db.execute("UPDATE slot SET share = ? WHERE app = ? AND name = ?", (share, app, slot))

    def spoil(self, app: str, slot: SlotName, *, returns_from: str | None = None) -> None:
        """Note that the slot's files are about to change: on the disk before they are.

        A finished build that it holds can be had again by going back from the commit `returns_from`, as long as nothing
        runs there: see `overwritten`.
        """
        with self._write(durably=True) as db:
            _forget_overwritten(db, app)
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
            _forget_overwritten(db, app)

    def put_back(self, app: str) -> None:
        """Note that the slot which was overwritten is again what it was."""
        known = json.loads(self.fact(_overwritten(app)) or "{}")
        with self._write(durably=True) as db:
            db.execute(
                "UPDATE slot SET intact = 1, committed = ? WHERE app = ? AND name = ?",
                (known["committed"], app, known["slot"]),
            )
            _forget_overwritten(db, app)

    def built(self, app: str, slot: SlotName, commit: str) -> None:
        """Note that the slot's files are a finished build of `commit`."""
        with self._write(durably=self.overwritten(app) is not None) as db:
            _forget_overwritten(db, app)
            db.execute("UPDATE slot SET intact = 1, hash = ? WHERE app = ? AND name = ?", (commit, app, slot))

    def running(self, app: str, slot: SlotName, process: Process, *, standby: bool = False) -> None:
        """Note the process that a slot's instance has."""
        with self._write() as db:
            db.execute(
                "UPDATE slot SET process = ?, standby = ? WHERE app = ? AND name = ?",
                (_dump(process), standby, app, slot),
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
        places = json.dumps([[e.host, e.port] for e in endpoints])
        with self._write(durably=True) as db:
            db.execute("UPDATE app SET live = ?, stopped = 0 WHERE name = ?", (slot, app))
            db.execute(
                "UPDATE slot SET process = ?, endpoints = ?, hash = ?, share = 100, intact = 0, standby = 0,"
                " committed = 1, version = NULL WHERE app = ? AND name = ?",
                (_dump(process), places, commit, app, slot),
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

    # -- deployments ----------------------------------------------------------------------------

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

    # -- drills ---------------------------------------------------------------------------------

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

    # -- builds and hooks under way -------------------------------------------------------------

    def command_started(self, app: str, process: Process) -> None:
        """Note the process group of a build or a hook, which may outlive its deployer, and change any file."""
        with self._write(durably=self.overwritten(app) is not None) as db:
            _forget_overwritten(db, app)
            db.execute("INSERT INTO command (app, process) VALUES (?, ?)", (app, _dump(process)))

    def commands(self, app: str) -> list[Process]:
        """The groups noted and not forgotten."""
        rows = self._db.execute("SELECT process FROM command WHERE app = ?", (app,))
        return [process for row in rows if (process := _load(row["process"]))]

    def forget_commands(self, app: str) -> None:
        """Forget them: they ended."""
        with self._write() as db:
            db.execute("DELETE FROM command WHERE app = ?", (app,))

    # -- guests ---------------------------------------------------------------------------------

    def guests(self) -> dict[str, GuestRecord]:
        """What `start` runs under names that are no slots."""
        return {row["name"]: _guest(row) for row in self._db.execute("SELECT * FROM guest ORDER BY name")}

    def host_guest(self, guest: GuestRecord) -> None:
        """Note a guest."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO guest (name, directory, port, command, process, settings)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(guest.name, str(guest.directory), guest.port, guest.command),
                    *(
                        guest.process and _dump(guest.process),
                        written(guest.version) if guest.version else "{}",
                    ),
                ),
            )

    def dismiss_guest(self, name: str) -> None:
        """Forget a guest."""
        with self._write() as db:
            db.execute("DELETE FROM guest WHERE name = ?", (name,))


def _overwritten(app: str) -> str:
    """The name of the fact that tells of a slot which can be put back."""
    return f"overwritten:{app}"


def _forget_overwritten(db: sqlite3.Connection, app: str) -> None:
    db.execute("DELETE FROM fact WHERE name = ?", (_overwritten(app),))


def _is_left_behind(backend: Backend, among: list[Backend]) -> bool:
    """Whether another app answers in its place: of those without a domain only one can get requests."""

    def gets_some(one: Backend) -> bool:
        return any(server.share for server in one.servers)

    return (
        not backend.domains
        and not gets_some(backend)
        and any(gets_some(one) for one in among if not one.domains)
    )


def _register(db: sqlite3.Connection, app: App, endpoints: Mapping[SlotName, tuple[Endpoint, ...]]) -> None:
    db.execute("INSERT OR IGNORE INTO app (name) VALUES (?)", (app.name,))
    db.execute("UPDATE app SET domains = ? WHERE name = ?", (json.dumps(app.domains), app.name))
    for slot in app.slots.values():
        where = (json.dumps([[e.host, e.port] for e in endpoints[slot.name]]), str(slot.directory))
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


def _move(db: sqlite3.Connection, root: str) -> None:
    for row in db.execute("SELECT app, name FROM slot").fetchall():
        directory = str(Path(root, f"{row['app']}_{row['name']}"))
        db.execute(
            "UPDATE slot SET directory = ? WHERE app = ? AND name = ?", (directory, row["app"], row["name"])
        )


def _primary(error: sqlite3.Error) -> int:
    """The kind of an error, without its subdivision."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _dump(process: Process) -> str:
    return json.dumps([process.pid, process.start_time, process.boot_id])


def _load(text: str | None) -> Process | None:
    return Process(*json.loads(text)) if text else None


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
        process=_load(row["process"]),
        standby=bool(row["standby"]),
        drain_timeout=row["drain_timeout"],
        stop_timeout=row["stop_timeout"],
        version=read(row["version"], row["hash"]),
    )


def _guest(row: sqlite3.Row) -> GuestRecord:
    return GuestRecord(
        name=row["name"],
        directory=Path(row["directory"]),
        port=row["port"],
        command=row["command"],
        process=_load(row["process"]),
        version=read(row["settings"]),
    )


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
