"""Commits come into a slot, and the files of the one before come back."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError
from substitute.linux.subprocesses import capture
from tests.contracts.repositories import IDENTITY, Place, Repository, page

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_use_clones_and_the_newest_commit_is_chosen(place: Place) -> None:
    source = place.source()
    revision = source.resolve(place.a, None)
    assert (revision.commit, revision.subject) == (place.first, "Say one")
    assert revision.how == "branch main of origin, its HEAD"
    assert source.current(place.a) is None  # nothing is checked out yet
    source.update(place.a, revision.commit, clean=False)
    assert page(place.a) == "one"
    assert source.current(place.a) == place.first
    assert source.current(place.b) is None


def tree(directory: Path) -> dict[str, str]:
    """All that is in a slot but git's own."""
    found = [path for path in directory.rglob("*") if ".git" not in path.parts]
    return {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else "a directory"
        for path in found
    }


@pytest.mark.parametrize(
    ("built", "added", "returns"),
    [
        ("app/node_modules/left-pad", "app/new", True),
        ("app/node_modules/left-pad", "new/one", True),
        ("app/made", "app/made", False),
        ("app/ignored", "app/ignored", False),
        ("tmp/pids/", "tmp/pids/.keep", False),
        ("made", "made/more", False),
        ("made/more", "made", False),
        ("app/page", "new", False),
    ],
    ids=[
        *("beside", "elsewhere", "the same", "the same and ignored", "a directory that git would remove"),
        *("a file where a directory comes", "a directory where a file comes", "a tracked file that changed"),
    ],
)
def test_files_that_are_changed_and_changed_back_are_those_of_before_where_that_is_said(
    place: Place, built: str, added: str, *, returns: bool
) -> None:
    source = place.source()
    place.repository.commit("ignored", ".gitignore")
    first = place.repository.commit("one", "app/page")
    source.resolve(place.a, None)
    source.update(place.a, first, clean=False)
    made = place.a / built
    (made if built.endswith("/") else made.parent).mkdir(parents=True, exist_ok=True)
    if not built.endswith("/"):
        made.write_text("a build made it")
    before = tree(place.a)
    (place.repository.directory / "app/page").write_text("two")
    (place.repository.directory / added).parent.mkdir(parents=True, exist_ok=True)
    (place.repository.directory / added).write_text("a commit made it")
    place.repository.git("add", "--force", ".")
    place.repository.git("commit", "--quiet", "--message", "more")
    second = source.resolve(place.a, None).commit
    assert source.returns(place.a, second) == returns
    assert tree(place.a) == before
    if returns:
        source.update(place.a, second, clean=False)
        assert tree(place.a) != before
        source.go_back(place.a, first, left=second)
        assert tree(place.a) == before
        assert source.current(place.a) == first


def test_an_update_that_failed_in_its_middle_can_be_undone(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    source.update(place.a, place.first, clean=False)
    (place.a / "built").write_text("a build made it")
    before = tree(place.a)
    place.repository.commit("*.big filter=broken", ".gitattributes")
    place.repository.commit("new", "new/page")
    second = place.repository.commit("big", "zoo.big")
    source.resolve(place.a, None)
    for setting in ("smudge false", "required true"):
        subprocess.run(
            ["git", "-C", str(place.a), "config", *f"filter.broken.{setting}".split()],
            check=True,
            env=IDENTITY,
        )
    assert source.returns(place.a, second)
    with pytest.raises(SourceError, match="cannot be set to"):
        source.update(place.a, second, clean=False)
    assert tree(place.a) != before
    source.go_back(place.a, place.first, left=second)
    assert tree(place.a) == before
    assert source.current(place.a) == place.first


def test_where_there_is_no_clone_nothing_returns(place: Place) -> None:
    assert not place.source().returns(place.a, place.first)


def test_a_resolve_changes_no_file_of_the_slot(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    second = place.repository.commit("two")
    assert source.resolve(place.a, None).commit == second
    assert page(place.a) == "one"
    assert source.current(place.a) == place.first


def test_the_second_slot_shares_the_objects_and_survives_the_first(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    second = place.repository.commit("two")
    assert source.resolve(place.b, None).commit == second
    linked = [
        file for file in (place.b / ".git/objects").rglob("*") if file.is_file() and file.stat().st_nlink > 1
    ]
    assert linked
    shutil.rmtree(place.a)
    source.update(place.b, second, clean=False)
    assert page(place.b) == "two"
    origin = capture(["git", "-C", str(place.b), "remote", "get-url", "origin"], environment=IDENTITY)
    assert origin.out.strip() == str(place.repository.directory)
    assert not list(place.root.glob(".*"))


def test_an_empty_directory_becomes_the_clone_and_keeps_its_mode(place: Place) -> None:
    place.a.mkdir(mode=0o750)
    place.source().resolve(place.a, None)
    assert place.a.stat().st_mode & 0o777 == 0o750


def test_a_new_slot_can_be_entered_by_others(place: Place) -> None:
    place.source().resolve(place.a, None)
    assert place.a.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def test_a_clone_that_is_already_there_is_taken_with_its_untracked_files(place: Place) -> None:
    place.repository.git("clone", "--quiet", "--", str(place.repository.directory), str(place.a))
    (place.a / "node_modules").mkdir()
    second = place.repository.commit("two")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert source.current(place.a) == second
    assert (place.a / "node_modules").is_dir()
    assert place.warnings == []


def test_a_clone_of_another_repository_is_pointed_at_the_configured_one_aloud(place: Place) -> None:
    other = Repository(place.root / "other")
    other.commit("other")
    other.git("clone", "--quiet", "--", str(other.directory), str(place.a))
    source = place.source()
    assert source.resolve(place.a, None).commit == place.first
    assert "other" in place.warnings[0]
    assert str(place.repository.directory) in place.notices[-1]
    place.warnings.clear()
    source.resolve(place.a, None)
    assert place.warnings == []


def test_an_update_undoes_every_change_to_tracked_files_and_leaves_untracked_ones(place: Place) -> None:
    place.repository.commit("a", "kept/file")
    place.repository.commit("*.log\nnode_modules\n", ".gitignore")
    source = place.source()
    commit = source.resolve(place.a, None).commit
    source.update(place.a, commit, clean=False)
    (place.a / "page").write_text("changed")
    (place.a / "kept/file").unlink()
    (place.a / "untracked").write_text("x")
    (place.a / "node_modules").mkdir()
    (place.a / "node_modules/x").write_text("x")
    source.update(place.a, commit, clean=False)
    assert page(place.a) == "one"
    assert (place.a / "kept/file").read_text() == "a"
    assert (place.a / "untracked").exists()
    assert (place.a / "node_modules/x").exists()
    source.update(place.a, commit, clean=True)
    assert sorted(file.name for file in place.a.iterdir()) == [".git", ".gitignore", "kept", "page"]


def test_untracked_files_and_directories_in_the_way_give_way(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    (place.a / "new").write_text("mine")
    (place.a / "dist/deep").mkdir(parents=True)
    (place.a / "dist/deep/file").write_text("mine")
    place.repository.commit("theirs", "new")
    second = place.repository.commit("theirs", "dist")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "new").read_text() == (place.a / "dist").read_text() == "theirs"
    assert source.current(place.a) == second


def test_an_unfinished_update_is_not_current_and_the_next_one_succeeds(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    with pytest.raises(SourceError):
        source.update(place.a, "f" * 40, clean=False)
    assert source.current(place.a) is None
    source.update(place.a, place.first, clean=False)
    assert source.current(place.a) == place.first


def test_submodules_come_and_follow(place: Place) -> None:
    library = Repository(place.root / "library")
    library.commit("old", "code")
    allowed = ("-c", "protocol.file.allow=always")
    place.repository.git(*allowed, "submodule", "add", "--quiet", "../library", "vendor")
    first = place.repository.commit("with vendor")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "old"
    library.commit("new", "code")
    vendored = capture(
        ["git", *allowed, "pull", "--quiet"],
        directory=place.repository.directory / "vendor",
        environment=IDENTITY,
    )
    assert vendored.status == 0
    place.repository.commit("with newer vendor")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "new"
    (place.a / "vendor/untracked").touch()
    (place.a / "vendor/code").write_text("changed")
    source.update(place.a, first, clean=True)
    assert (place.a / "vendor/code").read_text() == "old"
    assert not (place.a / "vendor/untracked").exists()
