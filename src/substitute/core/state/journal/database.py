"""The file: opened, brought up to date, set aside where it is damaged; its transactions."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from substitute.core.interrupts import whole
from substitute.core.model.errors import JournalError, SubstituteError
from substitute.core.state.journal.schema import SCHEMAS, VERSION
from substitute.core.state.lock import own_lock, short_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_RESERVE = 1 << 20
"""Bytes kept for a full disk: to settle takes some transactions and the balancer's file."""
_ENOUGH = _RESERVE // 4
"""Bytes that a disk which is not full has left."""


class _DamagedError(sqlite3.DatabaseError):
    """What is in the file is no journal any more."""


class Database:
    """One SQLite file with the schema of this version."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the journal at `path` (mode 0600). A damaged file is set aside: see `damaged`.

        Raises SubstituteError where it cannot be used, or was written by a newer version of this program.
        """
        self.path = path
        self.damaged: Path | None = None
        """Where a damaged journal was put, that this one has taken the place of."""
        self._is_handed_over = False
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
        self._make()
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

    def _make(self) -> None:
        """Make the file where it is missing.

        One that is there must not be opened beside SQLite: when it is closed again, the locks are gone that this
        process has on it by another connection. Then the next command that ends removes the log which that one still
        writes to, and what it writes is lost.
        """
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path)) from None

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
            for script in SCHEMAS[version:]:
                for statement in _statements(script):
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

    @property
    def _written(self) -> tuple[int, int] | None:
        """Other numbers than before, once anybody has written; None in the middle of a transaction of our own."""
        if self._db.in_transaction:
            return None
        return self._db.total_changes, self._db.execute("PRAGMA data_version").fetchone()[0]

    def hand_over(self) -> None:
        """Have `close` leave the file open, to the end of this process: another one goes on with it, and closes it.

        The last to close brings all into one file, which waits for the disk twice. All that must be is on it by then.
        """
        self._is_handed_over = True

    def close(self) -> None:
        """Close the file."""
        if not self._is_handed_over:
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


def _statements(script: str) -> Iterator[str]:
    """The statements of `script`: `executescript` would end the transaction. One of a trigger has semicolons in it."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _primary(error: sqlite3.Error) -> int:
    """The kind of an error, without its subdivision."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
