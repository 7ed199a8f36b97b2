"""What runs on a host for a command that was typed elsewhere; and the program that is talked with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from substitute.config.root import MINIMAL
from substitute.linux.dialogue import Dialogue, SilentError
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAR_END = """\
import sys, time
from pathlib import Path
from substitute.hosts.far_end import obey
place = Path(sys.argv[1])
def run():
    (place / "begun").touch()
    try:
        exec(sys.argv[2])
    except KeyboardInterrupt:
        (place / "interrupted").touch()
        return 130
    (place / "done").touch()
    return 7
sys.exit(obey({"latest": 3}, run, alone=sys.argv[3] == "alone"))
"""
UNTIL_TOLD = 'while not (place / "go on").exists(): time.sleep(0.01)'


class FarEnd:
    """One that runs, and what its files say."""

    def __init__(self, place: Path, code: str, how: str = "alone") -> None:
        self.place = place
        self.program = subprocess.Popen(
            [sys.executable, "-c", FAR_END, place, code, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,  # noqa: PLW1509
        )

    def says(self) -> dict[str, Any]:
        assert self.program.stdout
        found: dict[str, Any] = json.loads(self.program.stdout.readline())
        return found

    def tell(self, line: str) -> None:
        assert self.program.stdin
        self.program.stdin.write(f"{line}\n".encode())
        self.program.stdin.flush()

    def hang_up(self) -> None:
        for stream in (self.program.stdin, self.program.stdout):
            assert stream
            stream.close()

    def has(self, file: str) -> bool:
        return (self.place / file).exists()

    def awaited(self, file: str) -> None:
        eventually(lambda: self.has(file), file)


@pytest.fixture
def far_ends(tmp_path: Path) -> Iterator[list[FarEnd]]:
    made: list[FarEnd] = []
    yield made
    for one in made:
        one.program.kill()
        one.program.wait()
        for stream in (one.program.stdin, one.program.stdout):
            if stream:
                stream.close()


def test_nothing_begins_before_the_word(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    for said in ("", "gone\n"):
        far_ends.append(one := FarEnd(tmp_path, "pass"))
        assert one.says() == {"event": "hello", "protocol": 1, "latest": 3}
        assert one.program.stdin
        one.program.stdin.write(said.encode())
        one.program.stdin.close()
        assert one.program.wait() == 0
    assert not one.has("begun")


def test_the_status_is_told_before_the_end(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    far_ends.append(one := FarEnd(tmp_path, "print('{}')"))
    one.says()
    one.tell("go")
    assert one.says() == {}
    assert one.says() == {"event": "obeyed", "exit": 7}
    assert one.program.wait() == 7


def test_interrupt_is_what_ctrl_c_is_even_where_that_is_ignored(
    tmp_path: Path, far_ends: list[FarEnd]
) -> None:
    far_ends.append(one := FarEnd(tmp_path, UNTIL_TOLD))
    one.says()
    one.tell("go")
    one.awaited("begun")
    one.tell("interrupt")
    assert one.program.wait() == 130
    assert one.has("interrupted")


def test_where_the_connection_is_gone_it_goes_on_to_its_end(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    code = f"print('x' * 100000, flush=True)\n{UNTIL_TOLD}\nprint('y' * 100000, flush=True)"
    far_ends.append(one := FarEnd(tmp_path, code))
    one.says()
    one.tell("go")
    one.awaited("begun")
    one.hang_up()
    (tmp_path / "go on").touch()
    assert one.program.wait() == 7
    assert one.has("done")
    assert not one.has("interrupted")


def test_what_only_shows_something_ends_with_the_connection(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    far_ends.append(one := FarEnd(tmp_path, UNTIL_TOLD, "watched"))
    one.says()
    one.tell("go")
    one.awaited("begun")
    one.hang_up()
    assert one.program.wait() == 130
    assert one.has("interrupted")


def test_a_reader_who_takes_nothing_does_not_stop_it(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    """As a connection that is dead and does not know it."""
    far_ends.append(one := FarEnd(tmp_path, "for _ in range(200): print('x' * 10000, flush=True)"))
    one.says()
    one.tell("go")
    one.awaited("done")


def test_all_that_was_written_arrives(tmp_path: Path, far_ends: list[FarEnd]) -> None:
    far_ends.append(one := FarEnd(tmp_path, "for number in range(200): print(str(number) * 3000)"))
    one.says()
    one.tell("go")
    assert one.program.stdout
    *lines, last = one.program.stdout.read().decode().splitlines()
    assert lines == [str(number) * 3000 for number in range(200)]
    assert json.loads(last)["event"] == "obeyed"


def test_the_command_of_a_host_says_what_it_is_and_runs_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "substitute.toml").write_text(MINIMAL)
    command = [sys.executable, "-m", "substitute", "-C", str(tmp_path), "obey", "--", "history", "--json"]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=True)
    hello, *document, obeyed = done.stdout.splitlines()
    assert json.loads(hello)["root"] == str(tmp_path)
    assert json.loads("\n".join(document)) == {"deployments": [], "drills": []}
    assert json.loads(obeyed) == {"event": "obeyed", "exit": 0}


def test_a_root_that_is_not_there_is_an_error_for_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "substitute", "-C", str(tmp_path), "obey", "--", "status", "--json"]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["event"] == "error"


# -- a program that is talked with -----------------------------------------------------------------


def talk(script: str) -> Dialogue:
    return Dialogue(["sh", "-c", script])


def test_lines_go_both_ways_until_it_ends() -> None:
    one = talk("read -r word; echo said $word; echo last; printf rest; echo oh >&2; exit 3")
    one.tell("this")
    assert [one.line(), one.line(), one.line(), one.line()] == ["said this", "last", "rest", None]
    assert one.close() == (3, "oh\n")
    one.tell("nobody listens")


def test_silence_is_told_and_it_can_be_ended() -> None:
    one = talk("sleep 60")
    with pytest.raises(SilentError):
        one.line(0.01)
    status, _ = one.close()
    assert status == -signal.SIGTERM


def test_what_it_leaves_behind_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    """As the connection that ssh keeps: it may hold every descriptor open."""
    one = talk(f"sleep 600 & echo $! >{tmp_path}/pid; echo done")
    try:
        assert [one.line(), one.line()] == ["done", None]
        assert one.close() == (0, "")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_it_is_in_no_reach_of_ctrl_c() -> None:
    one = talk("ps -o sid= -p $$; echo $$")
    session, pid = one.line(), one.line()
    assert session is not None
    assert session.strip() == pid
    one.close()
