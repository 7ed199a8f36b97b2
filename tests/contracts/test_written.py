"""What of a slot's files git can make again, on real clones: all else the app wrote, and it is not lost."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.contracts.repositories import Place

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.sources.git.source import Git


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A slot at a commit with a page, a directory and a line in .gitignore; it was built."""
    made = Place(tmp_path)
    (made.repository.directory / ".gitignore").write_text("cache/\n*.log\n*.sqlite3\n")
    (made.repository.directory / "data").mkdir()
    (made.repository.directory / "data" / "seed").write_text("seed")
    made.first = made.repository.commit("one")
    source = made.source()
    source.update(made.a, source.resolve(made.a, None).commit, clean=False)
    (made.a / "bundle.js").write_text("made by a build")
    source.mark(made.a)
    return made


def write(path: Path, text: str = "written by the app") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_the_app_wrote_is_told_from_what_git_and_builds_made(place: Place) -> None:
    source = place.source()
    assert source.written(place.a) == []
    write(place.a / "data" / "one.txt")
    write(place.a / "uploads" / "deep" / "two.txt")
    write(place.a / "page", "changed")
    write(place.a / "odd *[name]\n")
    for ignored in ("cache/entry", "it.log", "lib/__pycache__/it.pyc", "node_modules/x.js"):
        write(place.a / ignored)
    sqlite3.connect(place.a / "my.sqlite3").execute("CREATE TABLE t (x)").connection.close()
    old = place.a / "uploads" / "old.txt"
    write(old)
    os.utime(old, (1, 1))  # as `cp -p` does
    wrote = ["data/one.txt", "my.sqlite3", "odd *[name]\n", "page", "uploads/deep/two.txt", "uploads/old.txt"]
    assert source.written(place.a) == wrote


def test_what_the_app_wrote_before_an_update_is_not_taken_for_a_builds(place: Place) -> None:
    source = place.source()
    write(place.a / "uploads" / "one.txt")
    source.mark(place.a, source.written(place.a))
    write(place.a / "other.js", "made by another build")
    source.mark(place.a)
    assert source.written(place.a) == ["uploads/one.txt"]
    (place.a / "uploads" / "one.txt").unlink()
    assert source.written(place.a) == []


def test_an_update_overwrites_what_is_tracked_and_what_stands_in_its_way(place: Place) -> None:
    source = place.source()
    for name in ("new", "place", "under/one", "untouched"):
        write(place.a / name)
    write(place.a / "page", "changed")
    for name in ("new", "place/x", "under"):
        commit = place.repository.commit("later", file=name)
    assert source.resolve(place.a, None).commit == commit
    names = source.written(place.a)
    assert names == ["new", "page", "place", "under/one", "untouched"]
    assert source.overwrites(place.a, commit, names) == ["new", "page", "place", "under/one"]


def test_only_what_git_has_as_it_is_can_be_made_again(place: Place) -> None:
    source = place.source()
    assert source.restorable(place.a, "data")
    assert source.restorable(place.a, "page")
    (place.a / "empty").mkdir()
    assert source.restorable(place.a, "empty")
    write(place.a / "data" / "node_modules" / "x")
    assert not source.restorable(place.a, "data")
    write(place.a / "page", "changed")
    assert not source.restorable(place.a, "page")
    write(place.a / "cache" / "ignored")
    assert not source.restorable(place.a, "cache")
    assert not source.restorable(place.b, "page"), "no clone is there"


def _share(place: Place, source: Git, name: str) -> Path:
    """Put a link where git has something, as sharing does."""
    shared = place.root / "shared"
    write(shared / "theirs.txt")
    for file in (place.a / name).iterdir():
        file.unlink()
    (place.a / name).rmdir()
    (place.a / name).symlink_to(shared)
    source.hide(place.a, [name])
    return shared


def test_git_misses_nothing_where_something_is_shared_and_writes_nothing_there(place: Place) -> None:
    source = place.source()
    shared = _share(place, source, "data")
    assert source.returns(place.a, place.first), "nothing was changed, for all that git knows"
    assert source.written(place.a) == [], "what is shared is not the slot's"
    later = place.repository.commit("more", file="data/more")
    source.resolve(place.a, None)
    source.update(place.a, later, clean=True)
    assert (place.a / "data" / "more").read_text() == "more"
    assert [file.name for file in shared.iterdir()] == ["theirs.txt"]
    source.hide(place.a, ["data"])
    shared = _share(place, source, "data")
    write(shared / "more", "the app's")
    source.go_back(place.a, place.first, left=later)
    assert (shared / "more").read_text() == "the app's", (
        "what an update did not make, going back does not remove"
    )
