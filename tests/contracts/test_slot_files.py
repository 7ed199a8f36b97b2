"""What is shared is moved while it is used: on real files, databases and users."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from substitute.core.model.errors import SharedError, UsageError
from substitute.core.ports.files import Kind
from substitute.linux import sqlite_files
from substitute.linux.slot_files import SlotFiles
from substitute.linux.users import account
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.apps import App


class Place:
    """A slot, and the place for what it shares."""

    def __init__(self, root: Path, user: str | None = None) -> None:
        self.root, self.slot, self.shared = root, root / "shop_a", root / "deploy" / "shop" / "shared"
        self.slot.mkdir()
        (root / "deploy" / "shop" / "hooks").mkdir(parents=True)
        (root / "deploy").chmod(0o700)
        self.files = SlotFiles(cast("App", SimpleNamespace(root=root, user=user)))

    def exchange(self, name: str) -> None:
        self.files.exchange(self.slot / name, self.shared / name, self.shared / name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.files.open(made.shared)
    return made


_WRITER = """
import sqlite3, sys, threading, time
path, journal, hold = sys.argv[1:]
def connect():
    made = sqlite3.connect(path, timeout=30, isolation_level=None)
    made.execute(f"PRAGMA journal_mode = {journal}")
    return made
def write(number):
    held = connect() if hold else None
    while not ends.is_set():
        database = held or connect()
        database.execute("INSERT INTO kept VALUES (?)", (number,))
        if not held:
            database.close()
        print(f"{number}\\n", end="", flush=True)
        number += 2
        time.sleep(0.002)
first, ends = int(time.monotonic() * 1e6) * 2, threading.Event()
connect().execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER)").connection.close()
threads = [threading.Thread(target=write, args=(first + one,)) for one in (0, 1)]
[thread.start() for thread in threads]
sys.stdin.read()
ends.set()
[thread.join() for thread in threads]
"""
"""A version of an app that writes rows by connections of each time, or by one that it holds."""


class Version:
    """It runs, and what it said is kept."""

    def __init__(self, database: Path, journal: str, *, hold: bool, output: Path) -> None:
        self._output = output
        command = [sys.executable, "-S", "-c", _WRITER, str(database), journal, "hold" if hold else ""]
        with output.open("w") as stream:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=stream)

    @property
    def kept(self) -> list[str]:
        return self._output.read_text().splitlines()

    def go_on(self) -> None:
        before = len(self.kept)
        eventually(lambda: len(self.kept) > before + 20, "rows are written")

    def __enter__(self) -> Self:
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@pytest.mark.parametrize("hold", [True, False], ids=["held open", "opened each time"])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_is_moved_while_it_is_written_and_no_row_is_lost(
    place: Place, journal: str, *, hold: bool
) -> None:
    with Version(place.slot / "db", journal, hold=hold, output=place.root / "old") as old:
        place.exchange("db")
        old.go_on()
        with Version(place.shared / "db", journal, hold=hold, output=place.root / "new") as new:
            old.go_on()
    with sqlite3.connect(place.slot / "db") as database:
        found = {str(number) for (number,) in database.execute("SELECT number FROM kept")}
        assert set(old.kept) | set(new.kept) <= found, "an error would be among them"
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not [file.name for file in place.slot.iterdir() if file.name not in {"db", "db-journal"}]


def test_a_database_in_a_long_transaction_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_files, "_PATIENCE", 0.05)
    with sqlite3.connect(place.slot / "db", isolation_level=None) as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(SharedError, match="locked"):
            place.exchange("db")
        assert not (place.slot / "db").is_symlink()
        database.execute("COMMIT")
    place.exchange("db")
    assert (place.slot / "db").is_symlink()


def test_a_database_that_is_at_rest_is_moved_with_its_log(place: Place) -> None:
    database = sqlite3.connect(place.slot / "db", isolation_level=None)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE t (x)")
    os.link(place.slot / "db-wal", place.root / "log")  # as one who is killed leaves it
    os.link(place.slot / "db", place.root / "db")
    database.close()
    for name in ("db", "db-wal"):
        (place.slot / name).unlink(missing_ok=True)
    (place.root / "db").rename(place.slot / "db")
    (place.root / "log").rename(place.slot / "db-wal")
    place.files.move(place.slot / "db", place.shared / "db")
    assert [file.name for file in place.shared.iterdir()] == ["db"]
    assert not list(place.slot.iterdir())
    assert sqlite3.connect(place.shared / "db").execute("SELECT * FROM t").fetchall() == []


def test_a_directory_is_moved_while_files_in_it_are_open(place: Place) -> None:
    (place.slot / "media").mkdir()
    (place.shared / "media").mkdir()  # empty: nothing
    with (place.slot / "media" / "log").open("w") as stream:
        place.exchange("media")
        stream.write("more")
    (place.slot / "media" / "new").write_text("new")
    assert {file.name: file.read_text() for file in (place.shared / "media").iterdir()} == {
        "log": "more",
        "new": "new",
    }
    assert not (place.slot / "media").readlink().is_absolute(), "a root may be moved"


def test_nothing_is_ever_moved_over_something(place: Place) -> None:
    for directory in (place.slot, place.shared):
        (directory / "it").write_text(directory.name)
    with pytest.raises(FileExistsError):
        place.files.move(place.slot / "it", place.shared / "it")
    with pytest.raises(FileExistsError):
        place.exchange("it")
    assert [(directory / "it").read_text() for directory in (place.slot, place.shared)] == [
        "shop_a",
        "shared",
    ]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_file_system_that_cannot_exchange_names_moves_files_and_refuses_directories(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def rename(*_: Any) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("substitute.linux.slot_files._rename", rename)
    it = place.slot / "it"
    if kind == "file":
        it.write_text("x")
        place.exchange("it")
        assert it.is_symlink()
        assert (place.shared / "it").read_text() == "x"
    else:
        it.mkdir()
        with pytest.raises(OSError, match="Invalid"):
            place.exchange("it")
        assert not it.is_symlink()
        assert place.files.look(place.shared / "it") is None


def test_what_nobody_uses_is_moved_to_another_file_system_and_what_is_used_is_not(place: Place) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if Path(elsewhere).stat().st_dev == place.root.stat().st_dev:
            pytest.skip("it is the same one")
        it, to = place.slot / "it", Path(elsewhere) / "it"
        it.mkdir()
        (it / "file").write_text("x")
        with pytest.raises(OSError, match="cross-device"):
            place.files.exchange(it, to, to)
        assert it.is_dir()
        assert not to.is_symlink()
        place.files.move(it, to)
        assert (to / "file").read_text() == "x"
        assert not it.exists()


def test_links_are_seen_for_what_they_are_and_removed_without_what_they_lead_to(place: Place) -> None:
    place.files.link(place.slot / "deep" / "media", place.shared / "media")
    seen = place.files.look(place.slot / "deep" / "media")
    assert seen
    assert (seen.kind, seen.empty, seen.target) == (Kind.LINK, True, place.shared / "media")
    place.files.make(place.shared / "media")
    (place.shared / "media" / "x").write_text("x")
    place.files.remove(place.slot / "deep")
    assert (place.shared / "media" / "x").exists()


def test_what_is_shared_can_be_reached_by_its_name_and_nothing_else_of_deploy(place: Place) -> None:
    assert (place.root / "deploy").stat().st_mode & 0o777 == 0o711
    assert place.shared.parent.stat().st_mode & 0o777 == 0o711
    assert (place.shared.parent / "hooks").stat().st_mode & 0o077 == 0


@pytest.fixture
def theirs() -> Iterator[Place]:
    """The slot and all that is shared belong to the app's user."""
    with tempfile.TemporaryDirectory(prefix="substitute-") as made:
        Path(made).chmod(0o755)
        place = Place(Path(made), "nobody")
        become = account("nobody")
        assert become
        os.chown(place.slot, become.uid, become.gid)
        yield place


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_is_shared_belongs_to_the_apps_user_who_can_have_root_do_nothing_with_it(theirs: Place) -> None:
    theirs.files.open(theirs.shared)
    theirs.files.make(theirs.shared / "media")
    assert (theirs.shared / "media").stat().st_uid == theirs.slot.stat().st_uid != 0
    secret = theirs.root / "secret"
    secret.mkdir(mode=0o700)
    (secret / "key").write_text("root's")
    (theirs.slot / "trap").symlink_to(secret)
    with pytest.raises(PermissionError):
        theirs.files.move(theirs.slot / "trap" / "key", theirs.shared / "key")
    with pytest.raises(PermissionError):
        theirs.files.remove(theirs.slot / "trap" / "key")
    assert (secret / "key").read_text() == "root's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_shared_place_of_another_user_is_refused_with_the_line_that_gives_it_away(theirs: Place) -> None:
    theirs.shared.mkdir()
    with pytest.raises(UsageError, match="chown -R nobody:"):
        theirs.files.open(theirs.shared)
