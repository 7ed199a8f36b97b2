"""The journal's schema: one that an earlier version wrote goes on, and one that grew long is as fast."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.model.programs import Process
from substitute.core.model.slots import SlotName
from substitute.core.operate.root import up
from substitute.core.operate.status import observe
from substitute.core.state.journal import VERSION, Journal
from substitute.core.state.journal.schema import SCHEMAS
from tests.unit.fakes.shop import make_shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.fakes.shop import Shop

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


def test_whoever_goes_on_with_a_journal_leaves_it_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = (
        "import os, sys; from pathlib import Path; from substitute.core.state.journal import Journal; "
        "it = Journal(Path(sys.argv[1])); it.remember('said', 'before'); it.hand_over(); it.close(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", first, str(path)], check=True)
    assert path.with_name("journal.db-wal").exists()
    second = Journal(path)
    assert second.fact("said") == "before"
    second.close()
    assert [file.name for file in tmp_path.glob("journal.db*")] == ["journal.db"]


def test_an_app_is_read_again_when_anybody_has_written(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    deploy(shop.host, shop.app)
    journal, app = shop.host.journal, shop.app.name
    with closing(Journal(journal.path)) as another:
        assert journal.app(app) is journal.app(app)
        another.share(app, {SlotName.A: 30, SlotName.B: 70})
        assert journal.app(app).slots[SlotName.A].share == 30
        journal.share(app, {SlotName.A: 40, SlotName.B: 60})
        assert journal.app(app).slots[SlotName.A].share == another.app(app).slots[SlotName.A].share == 40


def test_what_a_transaction_that_failed_had_written_is_not_kept(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    deploy(shop.host, shop.app)
    journal, app = shop.host.journal, shop.app.name
    before = journal.app(app)
    with suppress(ZeroDivisionError), journal._write() as db:
        db.execute("UPDATE slot SET share = 1")
        assert journal.app(app).slots[SlotName.A].share == 1
        raise ZeroDivisionError
    assert journal.app(app) == before


def test_a_reserve_that_was_begun_and_not_taken_is_taken(tmp_path: Path) -> None:
    reserve = tmp_path / "journal.reserve"
    reserve.touch()
    Journal(tmp_path / "journal.db").close()
    assert reserve.stat().st_size == 1 << 20


TYPED: dict[str, Callable[[Shop], object]] = {
    "status": lambda shop: observe(shop.host, [shop.app]),
    "history": lambda shop: shop.host.journal.history("shop", 3),
    "deploy": lambda shop: deploy(shop.host, shop.app, "v3"),
    "rollback": lambda shop: rollback(shop.host, shop.app),
    "up": lambda shop: up(shop.host, [shop.app]),
    "commit back": lambda shop: shop.host.journal.commit_back("shop", SlotName.A),
}


def steps(directory: Path, earlier: int) -> dict[str, int]:
    """What each costs SQLite, in instructions, where the app and another one were deployed so often before."""
    directory.mkdir()
    shop, found = make_shop(directory), {}
    deployed_often(shop, "shop", earlier)
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)
    deployed_often(shop, "blog", earlier)
    for name, act in TYPED.items():
        taken: list[int] = []
        shop.host.journal._db.set_progress_handler(partial(taken.append, 0), 1)
        act(shop)
        found[name] = len(taken)
    shop.host.journal.close()
    return found


def deployed_often(shop: Shop, app: str, times: int) -> None:
    with closing(sqlite3.connect(shop.host.journal.path, isolation_level=None)) as db:
        db.execute(
            "WITH RECURSIVE number(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
            " INSERT INTO deployment (app, operation, slot, hash, started, finished, committed, outcome)"
            " SELECT ?, 'deploy', 'a', 'v' || n, n, n, n, 'succeeded' FROM number",
            (times, app),
        )


def test_no_command_reads_all_deployments_that_ever_were(tmp_path: Path) -> None:
    few, many = (steps(tmp_path / str(earlier), earlier) for earlier in (10, 1000))
    assert {name: taken for name, taken in many.items() if taken > few[name] + 200} == {}


def test_what_a_command_of_the_version_before_notes_of_its_instance_is_carried_over(tmp_path: Path) -> None:
    """Its journal was brought up to date below it, and it knows one instance, in its slot's row."""
    path, place = tmp_path / "journal.db", '[["127.0.0.1", 3001]]'
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        for script in SCHEMAS[:3]:
            earlier.executescript(script)
        earlier.execute("PRAGMA user_version = 3")
        earlier.execute("INSERT INTO app (name, live) VALUES ('shop', 'a')")
        for name, process in (("a", '[101, 5, "boot"]'), ("b", None)):
            earlier.execute(
                "INSERT INTO slot (app, name, directory, endpoints, process, drain_timeout, stop_timeout)"
                " VALUES ('shop', ?, '/srv', ?, ?, 30, 30)",
                (name, place, process),
            )
        journal = Journal(path)
        started = journal.app("shop").slots[SlotName.A].started
        assert [(one.name, one.process, one.endpoints[0].port) for one in started] == [
            ("shop_a", Process(101, 5, "boot"), 3001)
        ]
        assert not journal.app("shop").slots[SlotName.B].started
        earlier.execute("""UPDATE slot SET process = '[102, 6, "boot"]', standby = 0 WHERE name = 'b'""")
        (candidate,) = journal.app("shop").slots[SlotName.B].started
        assert (candidate.name, candidate.process) == ("shop_b", Process(102, 6, "boot"))
        earlier.execute("UPDATE slot SET process = NULL, share = 0 WHERE name = 'a'")
        assert not journal.app("shop").slots[SlotName.A].started
        journal.close()


def test_what_is_written_by_who_has_it_open_twice_outlives_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    reader = (
        "import pathlib, sys; from substitute.core.state.journal import Journal\n"
        "made = Journal(pathlib.Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c"]
    with closing(Journal(path)) as first, closing(Journal(path)):
        subprocess.run([*command, reader + "made.close()", str(path)], check=True)
        first.remember("live", "b")
        told = subprocess.run(
            [*command, reader + "print(made.fact('live'))", str(path)], check=True, capture_output=True
        )
    assert told.stdout == b"b\n"
