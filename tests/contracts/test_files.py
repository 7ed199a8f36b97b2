from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.io.files import (
    private_directory,
    remove_unfinished,
    replace_link,
    write_all_atomically,
    write_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_file_is_replaced_whole_with_exactly_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        write_atomically(path, "one", mode=0o644)
        write_atomically(path, b"two", mode=0o644)
    finally:
        os.umask(before)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o644
    write_atomically(path, "three")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_need_not_survive_a_power_loss_waits_for_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, waited = tmp_path / "file", list[int]()
    monkeypatch.setattr(os, "fsync", waited.append)
    write_atomically(path, "one", durably=False)
    assert path.read_text() == "one"
    assert not waited
    write_atomically(path, "two")
    assert len(waited) == 2  # the file, and its directory


def test_several_files_are_replaced_in_their_order_and_wait_for_their_directory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, waited = tmp_path / "one", tmp_path / "two", list[bool]()
    sync = os.fsync

    def note(descriptor: int) -> None:
        waited.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_all_atomically({one: "1", two: "2"})
    assert (one.read_text(), two.read_text()) == ("1", "2")
    assert waited == [False, False, True]
    write_all_atomically({})
    assert len(waited) == 3


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    replace_link(link, "shop_a")
    replace_link(link, Path("shop_b"))
    assert link.readlink() == Path("shop_b")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_link(tmp_path / "directory", "x")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["current", "directory"]


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_by(write: Callable[[], None]) -> list[Path]:
        before, child = set(tmp_path.iterdir()), os.fork()
        if not child:
            monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            write()
        os.waitpid(child, 0)
        return sorted(set(tmp_path.iterdir()) - before)

    users = tmp_path / ".web.sh.swp"
    users.touch()
    first = left_by(lambda: write_atomically(tmp_path / "web.sh", "x"))
    link = left_by(lambda: replace_link(tmp_path / "current", "web_a"))
    living = tmp_path / f".web.sh.{os.getpid()}.0123abcd"
    living.touch()
    assert len(first) == len(link) == 1
    write_atomically(tmp_path / "web.sh", "y")  # a writer removes what is of its own name
    assert sorted(tmp_path.iterdir()) == sorted([users, living, *link, tmp_path / "web.sh"])
    remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([users, living, tmp_path / "web.sh"])


def test_a_private_directory_is_the_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "deploy"
    directory.mkdir(mode=0o755)
    assert private_directory(directory) == directory
    assert directory.stat().st_mode & 0o777 == 0o700
    assert private_directory(tmp_path / "x" / "y").stat().st_mode & 0o777 == 0o700
