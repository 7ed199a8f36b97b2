"""A SQLite database is several files while it is used: what has to be done before its file gets another place."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.errors import SharedError
from substitute.io.files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAGIC = b"SQLite format 3\0"
_LOG = ("-wal", "-shm")
"""What a database has beside it while it is open, where its journal is a write-ahead log."""
COMPANIONS = (*_LOG, "-journal")
_PATIENCE = 10.0
"""Seconds that a transaction which is under way is waited for."""
_OPENING = 1.0
"""Seconds that a program has between opening a database and reading from it."""


def is_database(path: Path) -> bool:
    """Whether `path` is a file with a SQLite database. Never raises."""
    try:
        return read_regular(path, limit=len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def settle_database(path: Path) -> None:
    """Have a database that nobody uses be one file. Whatever is no database stays as it is."""
    with _opened(path) as database:
        if database and _is_logged(database):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


@contextmanager
def between_transactions(path: Path, to: Path) -> Iterator[None]:
    """Entered while no transaction writes to the database `path`, whose file becomes `to` in here, under any name.

    Its log has both names by then: who opens the database by the one or the other, before it has moved or afterwards,
    has the same. Raises SharedError where it stays locked.
    """
    with _opened(path) as database:
        if not os.path.lexists(to):
            for ending in COMPANIONS:  # of an earlier time that was cut off: the log without its database
                _beside(to, ending).unlink(missing_ok=True)
        if database is None:
            yield
            return
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise SharedError(
                f"{path} cannot be moved to {to}: it is locked.",
                fact=f"A transaction had not ended after {_PATIENCE:g}s ({error}).",
                cure="Deploy again when it has.",
            ) from error
        log = _LOG if _is_logged(database) else ()
        for ending in log:
            os.link(_beside(path, ending), _beside(to, ending))
        yield
        database.execute("ROLLBACK")
        if log:
            # Somebody may have opened the database by its old name, and not yet its log. Until this connection is
            # closed, nobody removes the log to make a new one by the new name alone.
            time.sleep(_OPENING)
            for ending in log:
                _beside(path, ending).unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that has read; None where it is no database that SQLite can read."""
    if not is_database(path):
        yield None
        return
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        try:
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.DatabaseError:  # read-only, encrypted, damaged: then it is a file like another
            yield None
        else:
            yield database
    finally:
        database.close()


def _is_logged(database: sqlite3.Connection) -> bool:
    return bool(database.execute("PRAGMA journal_mode").fetchone()[0] == "wal")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
