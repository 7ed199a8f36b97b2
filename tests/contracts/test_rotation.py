from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from substitute.io import rotation
from substitute.io.rotation import KEPT, read_tail, rotate_where_large

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WRITER = (
    "import os, sys\nlog = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)\n"
    "for number in range(150000): os.write(log, b'line %d\\n' % number)\n"
)


def parts(log: Path) -> bytes:
    """All that is kept, the oldest first, without the hole of a file system that cannot collapse."""
    rotated = [log.with_name(f"{log.name}.{number}") for number in range(KEPT, 0, -1)]
    return b"".join(part.read_bytes().lstrip(b"\0") for part in [*rotated, log] if part.exists())


def test_no_line_is_lost_or_doubled_while_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    rotations = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, str(log)]) as writer:
        while writer.poll() is None:
            rotations += rotate_where_large(log, limit=300_000)
            time.sleep(0.001)
            if rotations == KEPT:
                writer.wait()
    assert rotations > 1
    lines = parts(log).decode().splitlines()
    assert lines == [f"line {number}" for number in range(150_000)]


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\n")
    assert not rotate_where_large(log)
    assert not rotate_where_large(tmp_path / "missing.log")


def test_the_tail_reaches_into_the_rotated_part(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(20_000)))
    assert rotate_where_large(log, limit=100_000)
    assert read_tail(log, 15_000)[-3:] == ["line 19997", "line 19998", "line 19999"]
    assert len(read_tail(log, 10)) == 10


def test_on_a_full_disk_no_older_part_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("x" * 300_000)
    for number in range(1, KEPT + 1):
        log.with_name(f"a.log.{number}").write_text(f"part {number}")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        assert not rotate_where_large(log, limit=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert rotate_where_large(log, limit=100_000)
    assert log.with_name("a.log.2").read_text() == "part 1"


def test_where_nothing_can_be_taken_out_of_a_file_nothing_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_fallocate", lambda *_: False)
    log = tmp_path / "a.log"
    log.write_text("x" * 300_000)
    assert not rotate_where_large(log, limit=100_000)
    assert [file.name for file in tmp_path.iterdir()] == ["a.log"]
