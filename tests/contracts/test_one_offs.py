"""Commands beside the instances, on the kernel's own terminals, pipes and users."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.linux.one_offs import Programs
from substitute.linux.processes import identify, is_alive
from tests.e2e.terminals import Terminal
from tests.waiting import eventually

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

RUN = """
import sys
from pathlib import Path
from substitute.linux.one_offs import Programs
user, *argv = sys.argv[1:]
def noted(process):
    Path("noted").write_text(str(process.pid))
environment = {"PATH": "/usr/bin:/bin", "PLACE": "here"}
ended = Programs().attached(argv, directory=Path("/"), environment=environment, on_start=noted, user=user or None)
print("ended", ended.status, flush=True)
"""
ENVIRONMENT = {"PATH": os.environ["PATH"]}
NOBODY = pytest.param("nobody", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"))


def script(user: str, *argv: str) -> list[str]:
    return [sys.executable, "-c", RUN, user, *argv]


def noted() -> int:
    """The process that was noted."""
    eventually(lambda: Path("noted").exists() and Path("noted").read_text(), "it is noted")
    return int(Path("noted").read_text())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("user", ["", NOBODY])
def test_a_program_has_a_terminal_and_another_user_one_of_his_own(user: str) -> None:
    asked = 'tty; stty size; ps -o user= -p $$; echo $PLACE; read -r word; echo "read $word"; exec sleep 1000'
    with Terminal(script(user, "sh", "-c", asked), size=(31, 97)) as terminal:
        terminal.expect("/dev/pts/")
        theirs = terminal.shown.split()[0]
        ours = Path(f"/proc/{terminal.pid}/fd/0").readlink().name
        assert (theirs == ours) == (not user)
        terminal.expect("31 97")
        terminal.expect(user or "root" if os.geteuid() == 0 else "")
        terminal.expect("here")
        terminal.type("one\r")
        terminal.expect("read one")
        pid = noted()
        terminal.resize(20, 50)
        terminal.type("\x03")
        terminal.expect(f"ended {-signal.SIGINT}")
        assert terminal.wait() == 0
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("user", ["", NOBODY])
def test_much_goes_through_a_terminal_both_ways_and_its_end_is_there(user: str) -> None:
    asked = "stty raw -echo; echo ready; head -c 200000 | tee /dev/stderr | wc -c; echo end"
    with Terminal(script(user, "sh", "-c", asked)) as terminal:
        terminal.expect("ready")
        for _ in range(100):
            terminal.type("x" * 2000)
        terminal.expect("200000")
        terminal.expect("ended 0")


@pytest.mark.parametrize("user", ["", NOBODY])
def test_the_window_is_closed_and_so_is_the_program_told(user: str) -> None:
    with Terminal(script(user, "sleep", "1000")) as terminal:
        process = identify(noted())
        assert process
        terminal.hang_up()
        eventually(lambda: not is_alive(process), "it ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_told_to_who_waits_goes_on_to_the_program_in_its_group(number: int) -> None:
    told = "trap 'echo told; exit 9' TERM INT; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(script("", "sh", "-c", told), stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        assert waiting.stdout.readline() == "ready\n"
        waiting.send_signal(number)
        assert waiting.communicate(timeout=60)[0] == "told\nended 9\n"


def test_what_is_not_noted_never_begins(tmp_path: Path) -> None:
    def fail(process: Process) -> None:
        raise ValueError(process.pid)

    for run in (Programs().attached, lambda argv, **more: Programs().logged(argv, tmp_path / "log", **more)):
        with pytest.raises(ValueError, match=r"\d+") as raised:
            run(
                ["touch", str(tmp_path / "begun")], directory=tmp_path, environment=ENVIRONMENT, on_start=fail
            )
        assert not Path(f"/proc/{raised.value.args[0]}").exists()
    assert not (tmp_path / "begun").exists()


def test_who_starts_it_is_killed_before_it_begins_and_it_never_does(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:

        def die(process: Process) -> None:
            Path("noted").write_text(str(process.pid))
            os._exit(0)

        Programs().logged(
            ["touch", str(tmp_path / "begun")],
            tmp_path / "log",
            directory=tmp_path,
            environment=ENVIRONMENT,
            on_start=die,
        )
    os.waitpid(pid, 0)
    eventually(lambda: not identify(noted()), "the program that waits is gone")
    assert not (tmp_path / "begun").exists()


def test_what_is_logged_is_the_programs_own_and_it_ends_at_its_limit(tmp_path: Path) -> None:
    started: list[Process] = []
    asked = "echo out; echo err >&2; read -r word || echo nothing; ps -o tty= -p $$; sleep 1000 & wait"
    ended = Programs().logged(
        ["sh", "-c", asked],
        tmp_path / "log",
        directory=tmp_path,
        environment=ENVIRONMENT,
        on_start=started.append,
        timeout=3.0,
    )
    assert ended.timed_out
    assert (tmp_path / "log").read_text().split() == ["out", "err", "nothing", "?"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert not is_alive(started[0])


@pytest.mark.parametrize(("argv", "status"), [(["/nowhere"], 127), (["/etc/passwd"], 126)])
def test_what_cannot_be_executed_ends_as_in_a_shell(tmp_path: Path, argv: list[str], status: int) -> None:
    log = tmp_path / "log"
    ended = Programs().logged(argv, log, directory=tmp_path, environment=ENVIRONMENT, on_start=lambda _: None)
    assert ended.status == status
    assert argv[0] in log.read_text()


# -- standard input -----------------------------------------------------------------------------------

LOOK = "from substitute.linux.one_offs import Programs; print(Programs().input().name)"


def seen(shell: str) -> str:
    """What is in standard input there; `$LOOK` stands for the program that looks."""
    line = shell.replace("$LOOK", f'"{sys.executable}" -c "{LOOK}"')
    return subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("shell", "found"),
    [
        ("$LOOK </dev/null", "NONE"),
        ("$LOOK <&-", "NONE"),
        ("$LOOK <empty", "NONE"),
        (": | (cat; $LOOK)", "NONE"),
        ("$LOOK <file", "WAITS"),
        ("(cat >/dev/null; $LOOK) <file", "NONE"),
        (
            "(echo some; : >written; cat fifo >/dev/null) | (until [ -e written ]; do :; done; $LOOK; : >fifo)",
            "WAITS",
        ),
        ("cat fifo | ($LOOK; : >fifo)", "MAY_COME"),
    ],
)
def test_what_is_in_standard_input_is_known_and_not_read(shell: str, found: str) -> None:
    Path("file").write_text("some\n")
    Path("empty").touch()
    os.mkfifo("fifo")
    assert seen(shell) == found


def test_at_a_terminal_something_may_come() -> None:
    with Terminal([sys.executable, "-c", LOOK]) as terminal:
        terminal.expect("MAY_COME")
