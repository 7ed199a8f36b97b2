from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from substitute.io import rotation
from substitute.io.lines import Lines
from substitute.io.tail import Follower

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 1 << 16


class Followed:
    """A log and who follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[str] = []
        self.written = 0

    def write(self, lines: int) -> None:
        with self.path.open("a") as file:
            for _ in range(lines):
                file.write(f"line {self.written}\n")
                self.written += 1

    def follow(self, lines: int) -> Follower:
        return Follower(self.path, lines, lambda _, line: self.seen.append(line))

    def all(self, *, since: int = 0) -> list[str]:
        return [f"line {number}" for number in range(since, self.written)]


@pytest.fixture
def log(tmp_path: Path) -> Followed:
    return Followed(tmp_path / "a.log")


def drain(follower: Follower) -> None:
    while follower.read():
        pass


def test_it_begins_with_the_last_lines_and_goes_on(log: Followed) -> None:
    log.write(50)
    follower = log.follow(3)
    drain(follower)
    log.write(2)
    drain(follower)

    assert log.seen == log.all(since=47)
    follower.close()


def test_a_log_that_does_not_exist_yet_is_waited_for(log: Followed) -> None:
    follower = log.follow(10)
    assert not follower.read()
    log.write(2)
    drain(follower)

    assert log.seen == log.all()
    follower.close()


def test_a_line_is_shown_when_it_is_whole(log: Followed) -> None:
    follower = log.follow(0)
    log.path.write_text("half")
    drain(follower)
    assert log.seen == []
    with log.path.open("a") as file:
        file.write(" a line\n")
    drain(follower)

    assert log.seen == ["half a line"]
    follower.close()


@pytest.mark.parametrize("unread", [0, 10, 30_000])
@pytest.mark.parametrize("collapses", [True, False])
def test_a_rotation_loses_no_line_and_repeats_none(
    log: Followed, monkeypatch: pytest.MonkeyPatch, *, collapses: bool, unread: int
) -> None:
    if not collapses:
        real = rotation._fallocate
        monkeypatch.setattr(
            rotation, "_fallocate", lambda fd, mode, *at: mode != 0x08 and real(fd, mode, *at)
        )
    log.write(20_000)
    follower = log.follow(20_000)
    drain(follower)
    for _ in range(3):
        log.write(unread)
        assert rotation.rotate_where_large(log.path, limit=BLOCK)
        log.write(20_000)
        drain(follower)

    assert log.seen == log.all()
    follower.close()


def test_it_begins_in_the_rotated_part_where_the_log_is_too_short(log: Followed) -> None:
    log.write(20_000)
    assert rotation.rotate_where_large(log.path, limit=BLOCK)
    follower = log.follow(19_000)
    drain(follower)

    assert log.seen == log.all(since=1000)
    follower.close()


def test_a_log_that_was_replaced_is_read_to_its_end_and_then_the_new_one(log: Followed) -> None:
    log.write(5)
    follower = log.follow(5)
    log.write(1)
    log.path.rename(log.path.with_suffix(".old"))
    log.write(2)
    drain(follower)
    drain(follower)

    assert log.seen == log.all()
    follower.close()


def test_a_truncated_log_is_read_from_its_beginning(log: Followed) -> None:
    log.write(5)
    follower = log.follow(5)
    drain(follower)
    os.truncate(log.path, 0)
    log.write(1)
    drain(follower)

    assert log.seen == log.all()
    follower.close()


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    read: list[int] = []
    real = os.pread

    def counted(descriptor: int, length: int, position: int) -> bytes:
        data = real(descriptor, length, position)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    return read


@pytest.mark.parametrize("lines", [0, 3, 2000])
def test_a_log_without_a_line_break_is_read_once_and_not_whole(
    log: Followed, bytes_read: list[int], lines: int
) -> None:
    size = 60 << 20
    with log.path.open("wb") as file:
        for _ in range(60):
            file.write(b"x" * (1 << 20))
    most = max(lines * 8192, 1 << 18)

    found = rotation.read_tail(log.path, lines)
    assert sum(map(len, found)) <= most
    log.follow(lines).close()
    assert sum(bytes_read) <= 2 * most < size


def test_lines_of_any_usual_length_are_read_whole(log: Followed) -> None:
    long = ["a" * 50_000, "b" * 50_000, "c" * 50_000]
    log.path.write_text("".join(f"{line}\n" for line in ["before", *long]))

    assert rotation.read_tail(log.path, 3) == long


def test_a_very_long_text_without_a_line_break_comes_in_parts_and_whole() -> None:
    parts: list[str] = []
    lines = Lines(parts.append)
    lines.feed(b"x" * (32 << 20))
    lines.feed(b"\n")

    assert "".join(parts) == "x" * (32 << 20)
    assert "" not in parts
    assert max(map(len, parts)) == 8192
