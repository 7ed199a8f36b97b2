"""The journal's schema: one that an earlier version wrote goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from substitute.core.model.slots import SlotName
from substitute.core.state.journal import VERSION, Journal

if TYPE_CHECKING:
    from pathlib import Path

FIRST = """
CREATE TABLE app (
    name TEXT PRIMARY KEY, live TEXT, stopped INTEGER NOT NULL DEFAULT 0,
    domains TEXT NOT NULL DEFAULT '[]',
    environment TEXT NOT NULL DEFAULT '{}');
CREATE TABLE slot (
    app TEXT NOT NULL REFERENCES app, name TEXT NOT NULL, directory TEXT NOT NULL, endpoints TEXT NOT NULL,
    share INTEGER NOT NULL DEFAULT 0, hash TEXT, intact INTEGER NOT NULL DEFAULT 0,
    process TEXT, standby INTEGER NOT NULL DEFAULT 0,
    drain_timeout REAL NOT NULL, stop_timeout REAL NOT NULL, PRIMARY KEY (app, name));
CREATE TABLE deployment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, operation TEXT NOT NULL, slot TEXT NOT NULL,
    hash TEXT, previous TEXT, started REAL NOT NULL, finished REAL, outcome TEXT,
    phase TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', seconds TEXT NOT NULL DEFAULT '{}');
CREATE TABLE command (app TEXT NOT NULL, process TEXT NOT NULL);
CREATE TABLE guest (
    name TEXT PRIMARY KEY, directory TEXT NOT NULL, port INTEGER NOT NULL,
    command TEXT NOT NULL, process TEXT);
CREATE TABLE drill (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, deployment INTEGER, operation TEXT,
    started REAL NOT NULL, seconds REAL NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
    exit INTEGER NOT NULL, summary TEXT NOT NULL);
INSERT INTO app (name, live) VALUES ('shop', 'b');
INSERT INTO slot (app, name, directory, endpoints, share, hash, intact, drain_timeout, stop_timeout) VALUES
    ('shop', 'a', '/srv/shop_a', '[["127.0.0.1", 3001]]', 0, 'v1', 1, 30, 30),
    ('shop', 'b', '/srv/shop_b', '[["127.0.0.1", 3002]]', 100, 'v2', 1, 30, 30);
INSERT INTO deployment (app, operation, slot, hash, started, finished, outcome) VALUES
    ('shop', 'deploy', 'a', 'v1', 1, 2, 'succeeded'), ('shop', 'deploy', 'b', 'v2', 3, 4, 'succeeded');
PRAGMA user_version = 1;
"""
"""As version 1 wrote it."""


def of_the_first_version(directory: Path) -> Path:
    path = directory / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"PRAGMA journal_mode = WAL;{FIRST}")
    return path


def test_a_journal_of_the_first_version_goes_on_with_all_that_it_knew(tmp_path: Path) -> None:
    path = of_the_first_version(tmp_path)
    journal = Journal(path)
    record = journal.app("shop")
    assert (record.live, record.slots[SlotName.A].commit) == (SlotName.B, "v1")
    assert journal.rollback_commit("shop", "v2") == "v1"
    assert [(one.subject, one.user) for one in journal.history("shop")] == [("", "")] * 2
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("SELECT name, committed FROM slot ORDER BY name").fetchall() == [("a", 1), ("b", 1)]
        assert db.execute("SELECT committed FROM deployment ORDER BY id").fetchall() == [(2.0,), (4.0,)]
    journal.close()


def test_a_journal_from_before_there_were_drills_goes_on_too(tmp_path: Path) -> None:
    path = of_the_first_version(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE drill; PRAGMA user_version = 0;")
    journal = Journal(path)
    assert journal.drills("shop") == []
    assert journal.app("shop").live is SlotName.B
    journal.close()


def test_a_command_of_the_version_before_that_is_under_way_can_end(tmp_path: Path) -> None:
    path = of_the_first_version(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        assert earlier.execute("SELECT COUNT(*) FROM deployment").fetchone() == (2,)
        Journal(path).close()
        earlier.execute(
            "INSERT INTO deployment (app, operation, slot, started) VALUES ('shop', 'deploy', 'a', 5)"
        )
        earlier.execute("INSERT INTO command VALUES ('shop', '[1, 2, \"boot\"]')")
        earlier.execute("UPDATE app SET live = 'a'")
    journal = Journal(path)
    assert journal.app("shop").live is SlotName.A
    assert [one.operation for one in journal.unfinished("shop")] == ["deploy"]
    journal.close()


def test_a_fact_of_the_root_is_remembered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.fact("runtime") is None
    journal.remember("runtime", "systemd")
    journal.remember("runtime", "supervisord")
    assert journal.fact("runtime") == "supervisord"
    journal.close()


def test_a_reserve_that_was_begun_and_not_taken_is_taken(tmp_path: Path) -> None:
    reserve = tmp_path / "journal.reserve"
    reserve.touch()
    Journal(tmp_path / "journal.db").close()
    assert reserve.stat().st_size == 1 << 20


def test_no_question_about_deployments_reads_all_of_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    journal.history("shop", 3)
    journal.unfinished("shop")
    journal.rollback_commit("shop", None)
    journal.commit_back("shop", SlotName.A)
    journal._db.set_trace_callback(None)
    about = [text for text in asked if "deployment" in text]
    assert len(about) == 5
    for text in about:
        plan = [row["detail"] for row in journal._db.execute(f"EXPLAIN QUERY PLAN {text}")]
        assert not any(line.startswith("SCAN deployment") for line in plan), (text, plan)
    journal.close()
