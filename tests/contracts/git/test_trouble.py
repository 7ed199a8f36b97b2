"""Clones that are broken, locked or somebody else's; remotes and gits that hang or are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError, UsageError
from substitute.linux.subprocesses import capture
from substitute.sources.git.program import Limit
from substitute.sources.git.source import Git
from tests.contracts.repositories import IDENTITY, Place, Repository, page

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_git_that_hangs_is_ended_past_its_limit_and_the_key_is_named(place: Place) -> None:
    limit = Limit(0.5, "app.shop.build_timeout")
    surroundings = {**IDENTITY, "GIT_SSH_COMMAND": "sleep 600 #"}
    source = Git(
        "ssh://nowhere.example/shop.git", None, lambda: [place.a], surroundings, print, print, limit=limit
    )
    with pytest.raises(SourceError, match=r"did not end within 0\.5s.*\n.*app\.shop\.build_timeout"):
        source.resolve(place.a, None)
    assert not place.a.exists()


def test_a_commit_that_is_there_is_deployed_though_the_remote_hangs(place: Place) -> None:
    place.source().resolve(place.a, None)
    limit = Limit(3.0, "app.shop.build_timeout")
    surroundings = {**IDENTITY, "GIT_SSH_COMMAND": "sleep 600; false"}
    said = (place.notices.append, place.warnings.append)
    source = Git("ssh://nowhere.example/shop.git", None, lambda: [place.a], surroundings, *said, limit=limit)
    assert source.resolve(place.a, place.first, ours=True).commit == place.first
    assert "cannot be reached: `git fetch` did not end within 3s" in place.warnings[-1]
    with pytest.raises(SourceError, match="did not end within"):
        source.resolve(place.a, None, ours=True)
    assert not (place.root / "shop_a.broken").exists()


def test_a_directory_with_something_else_in_it_is_refused_and_untouched(place: Place) -> None:
    place.a.mkdir()
    (place.a / "precious").write_text("x")
    with pytest.raises(UsageError, match="shop_a is not empty and is no git clone"):
        place.source().resolve(place.a, None)
    assert [file.name for file in place.a.iterdir()] == ["precious"]


def test_a_repository_around_the_slot_is_never_taken_for_the_slots_own(place: Place) -> None:
    outer = Repository(place.root / "outer")
    head = outer.commit("outer")
    slot = outer.directory / "slot"
    source = place.source()
    assert source.current(slot) is None
    source.update(slot, source.resolve(slot, None).commit, clean=True)
    assert page(slot) == "one"
    assert outer.git("rev-parse", "HEAD") == head
    assert page(outer.directory) == "outer"


def test_a_broken_clone_is_named_and_the_repository_around_it_untouched(place: Place) -> None:
    outer = Repository(place.root / "outer")
    head = outer.commit("outer")
    slot = outer.directory / "slot"
    (slot / ".git").mkdir(parents=True)
    with pytest.raises(SourceError, match="slot"):
        place.source().resolve(slot, "main")
    with pytest.raises(SourceError, match="slot"):
        place.source().update(slot, head, clean=True)
    assert outer.git("rev-parse", "HEAD") == head
    assert "origin" not in outer.git("remote")


def test_a_remote_that_cannot_be_cloned_leaves_nothing(place: Place) -> None:
    with pytest.raises(SourceError, match="cannot be cloned") as caught:
        place.source(repo=str(place.root / "absent")).resolve(place.a, None)
    assert "does not exist" in caught.value.fact
    assert sorted(file.name for file in place.root.iterdir()) == ["origin"]


def test_no_password_is_shown(place: Place) -> None:
    with pytest.raises(SourceError) as caught:
        place.source(repo="https://me:secret@127.0.0.1:1/x.git").resolve(place.a, None)
    assert "127.0.0.1:1/x.git" in str(caught.value)
    assert "secret" not in str(caught.value) + str(place.notices)


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/remotes/origin/main.lock", "config.lock"])
def test_a_lock_that_an_interrupted_git_left_is_removed_aloud(place: Place, lock: str) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    second = place.repository.commit("two")
    (place.a / ".git" / lock).touch()
    if lock == "config.lock":  # only a change of the origin writes it
        source = place.source(repo=f"file://{place.repository.directory}")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert source.current(place.a) == second
    assert any(lock in notice for notice in place.notices)


def test_a_git_that_is_still_at_work_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = place.source()
    source.resolve(place.a, None)
    lock = place.a / ".git/index.lock"
    lock.touch()
    busy = ["git", "-c", "alias.wait=!sleep 1; rm -f .git/index.lock", "wait"]
    with subprocess.Popen(busy, cwd=place.a, env=IDENTITY):
        source.update(place.a, place.first, clean=False)
    assert source.current(place.a) == place.first
    assert not any("Removed" in notice for notice in place.notices)
    monkeypatch.setattr("substitute.sources.git.program._PATIENCE", 0)
    lock.touch()
    with subprocess.Popen(["git", "hash-object", "--stdin"], cwd=place.a, stdin=subprocess.PIPE) as at_work:
        with pytest.raises(SourceError, match="Another git is at work"):
            source.update(place.a, place.first, clean=False)
        at_work.kill()


def test_an_interrupted_clone_blocks_nothing(place: Place) -> None:
    for left in (".shop_a.cloning-x1", ".shop_a.cloning-x2"):
        (place.root / left / "clone/.git").mkdir(parents=True)
    place.source().resolve(place.a, None)
    assert sorted(file.name for file in place.root.iterdir()) == ["origin", "shop_a"]


@pytest.mark.parametrize("lost", ["HEAD", "refs", "objects/pack", "config", "everything"])
def test_an_interrupted_clone_of_a_submodule_blocks_nothing(place: Place, lost: str) -> None:
    library = Repository(place.root / "library")
    library.commit("code", "code")
    place.repository.git(
        "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../library", "vendor"
    )
    place.repository.commit("with vendor")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    module = place.a / ".git/modules/vendor"
    for file in [file for file in module.rglob("*") if file.is_file()]:
        if lost == "everything" or file.relative_to(module).is_relative_to(lost):
            file.unlink()
    (module / "packed-refs").unlink(missing_ok=True)
    (module / "index").unlink(missing_ok=True)
    shutil.rmtree(place.a / "vendor")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "code"


def test_a_git_hook_that_deploys_does_not_mislead(place: Place) -> None:
    decoy = Repository(place.root / "decoy")
    head = decoy.commit("decoy")
    foreign = {
        "GIT_DIR": str(decoy.directory / ".git"),
        "GIT_WORK_TREE": str(decoy.directory),
        "GIT_INDEX_FILE": str(decoy.directory / ".git/index"),
        "GIT_QUARANTINE_PATH": str(place.root),
    }
    source = place.source(**foreign)
    source.update(place.a, source.resolve(place.a, None).commit, clean=True)
    assert page(place.a) == "one"
    assert decoy.git("rev-parse", "HEAD") == head
    assert page(decoy.directory) == "decoy"


def test_hooks_that_a_build_configured_in_the_clone_do_not_run(place: Place) -> None:
    place.repository.commit("x", "hooks/readme")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    hook = place.a / "hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {place.root}/ran\n")
    hook.chmod(0o755)
    capture(["git", "config", "core.hooksPath", "hooks"], directory=place.a, environment=IDENTITY)
    source.update(place.a, place.first, clean=False)
    assert page(place.a) == "one"
    assert not (place.root / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_clones_and_repositories_of_another_user_are_used(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    for directory in (place.a, place.repository.directory):
        for parent, folders, files in os.walk(directory):
            for name in (*folders, *files, "."):
                os.chown(Path(parent) / name, 65534, 65534)
    second = place.repository.git("-c", "safe.directory=*", "rev-parse", "HEAD") or ""
    assert source.resolve(place.a, None).commit == second
    source.update(place.a, second, clean=True)
    assert source.resolve(place.b, None).commit == second


def test_a_missing_git_says_how_to_get_it(place: Place) -> None:
    with pytest.raises(SourceError, match="git is not installed") as caught:
        place.source(PATH="/nonexistent").resolve(place.a, None)
    assert "apt install git" in caught.value.cure


def test_an_unusable_directory_is_named(place: Place) -> None:
    (place.root / "file").write_text("x")
    with pytest.raises(SourceError, match="file/shop_a cannot be used"):
        place.source().resolve(place.root / "file/shop_a", None)


def _no_git(slot: Path) -> None:
    shutil.rmtree(slot / ".git")


def _no_head(slot: Path) -> None:
    (slot / ".git" / "HEAD").unlink()


def _no_objects(slot: Path) -> None:
    shutil.rmtree(slot / ".git" / "objects")
    (slot / ".git" / "objects").mkdir()
    (slot / ".git" / "substitute-update").touch()  # the update that stumbled over it


@pytest.mark.parametrize("spoil", [_no_git, _no_head, _no_objects])
def test_a_broken_clone_of_ours_is_set_aside_aloud_and_made_afresh(
    place: Place, spoil: Callable[[Path], None]
) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    (place.a / "upload").write_text("precious")
    spoil(place.a)
    second = place.repository.commit("two")
    assert source.resolve(place.a, None, ours=True).commit == second
    source.update(place.a, second, clean=False)
    assert page(place.a) == "two"
    assert (place.root / "shop_a.broken" / "upload").read_text() == "precious"
    assert "was broken" in place.warnings[0]


def test_a_remote_that_does_not_answer_breaks_no_clone_of_ours(place: Place) -> None:
    place.source().resolve(place.a, None)
    place.lose_the_remote()
    with pytest.raises(SourceError, match="cannot be reached"):
        place.source().resolve(place.a, None, ours=True)
    assert not (place.root / "shop_a.broken").exists()


def test_an_emptied_remote_is_no_fault_of_the_clone(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None, ours=True).commit, clean=False)
    place.lose_the_remote()
    Repository(place.repository.directory)
    with pytest.raises(SourceError, match="has no commit") as caught:
        source.resolve(place.a, None, ours=True)
    assert "substitute deploy COMMIT" in caught.value.cure
    assert source.resolve(place.a, place.first, ours=True).commit == place.first
    assert source.current(place.a) == place.first
    shutil.rmtree(place.repository.directory)
    with pytest.raises(SourceError, match="cannot be reached"):
        source.resolve(place.a, None, ours=True)
    assert not place.warnings


@pytest.mark.parametrize("name", ["refs/heads/x", "objects/info/alternates", "info/attributes", "HEAD"])
def test_a_fifo_in_a_clone_makes_nobody_wait(place: Place, name: str) -> None:
    source = place.source()
    source.resolve(place.a, None)
    trap = place.a / ".git" / name
    trap.parent.mkdir(exist_ok=True)
    trap.unlink(missing_ok=True)
    os.mkfifo(trap)
    assert source.resolve(place.b, None).commit == place.first  # not from there
    with pytest.raises(SourceError, match=f"{name} is a FIFO"):  # somebody's own clone is left to him
        source.resolve(place.a, None)
    assert source.resolve(place.a, None, ours=True).commit == place.first
    assert f"{name} is a FIFO" in place.warnings[0]
