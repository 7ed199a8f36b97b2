from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from substitute.linux.processes import group_of, identify, is_alive
from substitute.linux.subprocesses import Shell, capture, spawn_detached
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.ports.commands import Finished

ENVIRONMENT = {"PATH": os.environ["PATH"]}


class Watched:
    """What a run told its caller."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started: list[Process] = []


def run(script: str, directory: Path, watched: Watched, timeout: float | None = None) -> Finished:
    return Shell().run(
        ["bash", "-c", script],
        directory=directory,
        environment=ENVIRONMENT,
        on_line=watched.lines.append,
        on_start=watched.started.append,
        timeout=timeout,
    )


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    for process in watched.started:
        Shell().end(process)


def test_both_outputs_come_line_by_line_with_the_exit_status(tmp_path: Path, watched: Watched) -> None:
    finished = run("echo one; echo two >&2; printf three; exit 3", tmp_path, watched)
    assert watched.lines == ["one", "two", "three"]
    assert finished.status == 3
    assert finished.tail == ("one", "two", "three")


def test_a_program_gets_exactly_its_environment_directory_and_no_input(
    tmp_path: Path, watched: Watched
) -> None:
    run("pwd -P; env | grep -c HOME; cat; ps -o sid= -p $$ | tr -d ' '; echo $$", tmp_path, watched)
    assert watched.lines[:2] == [str(tmp_path.resolve()), "0"]
    assert watched.lines[2] == watched.lines[3]  # nothing from cat, and a session of its own


def test_the_end_by_a_signal_is_a_negative_status(tmp_path: Path, watched: Watched) -> None:
    assert run("kill -9 $$", tmp_path, watched).status == -9


def test_progress_bars_and_undecodable_bytes_become_lines(tmp_path: Path, watched: Watched) -> None:
    run(r"printf '10%%\r20%%\r\nbad \xff byte\n\ngr\xc3\xbc\xc3\x9fe\n'", tmp_path, watched)
    assert watched.lines == ["10%", "20%", "bad \ufffd byte", "", "grüße"]


def test_megabytes_without_a_line_end_come_in_parts_and_in_full(tmp_path: Path, watched: Watched) -> None:
    run("head -c 5000000 /dev/zero | tr '\\0' x", tmp_path, watched)
    assert sum(map(len, watched.lines)) == 5_000_000
    assert max(map(len, watched.lines)) <= 8192


def test_many_lines_all_come_and_the_last_twenty_are_kept(tmp_path: Path, watched: Watched) -> None:
    finished = run("seq 200000", tmp_path, watched)
    assert len(watched.lines) == 200_000
    assert finished.tail == tuple(str(number) for number in range(199_981, 200_001))


def test_a_background_child_that_keeps_the_pipe_open_is_not_waited_for(
    tmp_path: Path, watched: Watched
) -> None:
    finished = run("echo before; sleep 1000 & echo after", tmp_path, watched)
    assert finished.status == 0
    assert watched.lines == ["before", "after"]
    assert group_of(watched.started[0])  # and it was not ended either


def test_a_background_child_that_never_stops_writing_is_not_waited_for(
    tmp_path: Path, watched: Watched
) -> None:
    assert run("yes & echo $!", tmp_path, watched).status == 0


def test_a_timeout_ends_the_whole_group(tmp_path: Path, watched: Watched) -> None:
    finished = run("echo on; sleep 1000 & sleep 1000", tmp_path, watched, timeout=2.0)
    assert finished.timed_out
    # The shell dies of the signal, or tells that what it waited for did: who is told first is the kernel's choice.
    assert finished.status in {-signal.SIGTERM, 128 + signal.SIGTERM}
    assert watched.lines[0] == "on"
    assert not group_of(watched.started[0])


def test_a_timeout_kills_what_ignores_sigterm(tmp_path: Path, watched: Watched) -> None:
    finished = run("trap '' TERM; echo deaf; while :; do sleep 1000; done", tmp_path, watched, timeout=2.0)
    assert finished.timed_out
    assert finished.status == -signal.SIGKILL
    assert not group_of(watched.started[0])


def test_a_signal_handler_that_raises_ends_the_whole_group(tmp_path: Path, watched: Watched) -> None:
    def interrupt() -> None:
        eventually(lambda: watched.lines)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run("sleep 1000 & echo on; sleep 1000", tmp_path, watched)
    thread.join()
    assert not group_of(watched.started[0])


def test_a_signal_at_the_very_start_loses_no_child(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the child is forked, and its pid not yet known."""

    class Interrupted(subprocess.Popen[bytes]):
        def _execute_child(self, *arguments: object) -> None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            children.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    children: list[int] = []
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("sleep 1000", tmp_path, watched)
    assert identify(children[0]) is None


def test_an_exception_of_the_callers_ends_the_group(tmp_path: Path, watched: Watched) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="on"):
        Shell().run(
            ["bash", "-c", "echo on; sleep 1000"],
            directory=tmp_path,
            environment=ENVIRONMENT,
            on_line=refuse,
            on_start=watched.started.append,
        )
    assert not group_of(watched.started[0])


def test_a_program_that_does_not_exist_ends_as_in_a_shell(tmp_path: Path, watched: Watched) -> None:
    ended = Shell().run(
        ["substitute-no-such-program"],
        directory=tmp_path,
        environment=ENVIRONMENT,
        on_line=watched.lines.append,
        on_start=watched.started.append,
    )
    assert ended.status == 127
    assert "substitute-no-such-program" in ended.tail[-1]


def test_a_directory_that_does_not_exist_is_an_os_error(tmp_path: Path, watched: Watched) -> None:
    with pytest.raises(FileNotFoundError):
        run("true", tmp_path / "nowhere", watched)


def test_a_program_whose_start_could_not_be_noted_has_not_begun(tmp_path: Path) -> None:
    """Its deployer is killed in that moment."""
    code = (
        "import os, pathlib, signal, sys; from substitute.linux.subprocesses import Shell\n"
        "def note(process): print(process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
        "Shell().run(['touch', 'begun'], directory=pathlib.Path(sys.argv[1]),"
        " environment={'PATH': os.environ['PATH']}, on_line=print, on_start=note)"
    )
    deployer = capture([sys.executable, "-c", code, str(tmp_path)], environment=ENVIRONMENT)
    assert deployer.status == -signal.SIGKILL
    eventually(lambda: identify(int(deployer.out)) is None)
    assert not (tmp_path / "begun").exists()


def test_ending_a_group_whose_leader_has_exited_ends_its_members(tmp_path: Path, watched: Watched) -> None:
    run("sleep 1000 & sleep 1000 &", tmp_path, watched)
    (leader,) = watched.started
    assert len(group_of(leader)) == 2
    Shell().end(leader)
    assert not group_of(leader)


def test_captured_output_is_kept_apart_and_input_is_given(tmp_path: Path) -> None:
    captured = capture(
        ["bash", "-c", "cat; echo problem >&2; exit 4"],
        directory=tmp_path,
        environment=ENVIRONMENT,
        given="ü",
    )
    assert (captured.status, captured.out, captured.err) == (4, "ü", "problem\n")


def test_a_captured_program_may_leave_a_daemon_behind(tmp_path: Path) -> None:
    captured = capture(["bash", "-c", "sleep 1000 & echo $!"], environment=ENVIRONMENT)
    daemon = identify(int(captured.out))
    assert daemon
    os.kill(daemon.pid, signal.SIGKILL)


def test_a_captured_program_is_ended_at_its_timeout() -> None:
    captured = capture(["sleep", "1000"], environment=ENVIRONMENT, timeout=0.2)
    assert captured.timed_out
    assert captured.status == -signal.SIGTERM


def test_a_detached_program_has_its_own_session_its_log_and_no_other_descriptor(tmp_path: Path) -> None:
    log = tmp_path / "log"
    given, kept = os.pipe()
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)  # noqa: FBT003  # its only form
    code = (
        "import os, sys; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') "
        f"if os.path.exists('/proc/self/fd/' + fd)), os.getsid(0) == os.getpid(), os.read({given}, 1))"
    )
    try:
        spawn_detached(
            [sys.executable, "-c", code], directory=tmp_path, environment={}, log=log, pass_fds=[given]
        )
        os.write(kept, b"x")
        eventually(lambda: log.read_text().endswith("\n"))
        assert log.read_text() == f"[0, 1, 2, {given}] True b'x'\n"
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        for descriptor in (given, kept, leaked):
            os.close(descriptor)


def test_a_detached_program_is_alive_until_it_is_signalled(tmp_path: Path) -> None:
    pid = spawn_detached(["sleep", "1000"], directory=tmp_path, environment=ENVIRONMENT, log=tmp_path / "log")
    process = identify(pid)
    assert process
    assert is_alive(process)
    Shell().end(process)
    assert not is_alive(process)


def test_what_was_left_behind_gets_sigterm_and_sigkill_only_past_the_limit() -> None:
    def left(script: str) -> tuple[subprocess.Popen[str], Process]:
        program = subprocess.Popen(
            ["bash", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        process = identify(program.pid)
        assert process
        return program, process

    polite = left("trap 'echo told; exit' TERM; echo ready; while :; do sleep 0.05; done")
    assert not Shell().end_all([polite[1]], timeout=60.0)
    assert polite[0].communicate()[0] == "told\n"
    stubborn = left("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    assert Shell().end_all([stubborn[1]], timeout=0.1)
    stubborn[0].communicate()
    assert stubborn[0].returncode == -signal.SIGKILL
    assert not Shell().end_all([polite[1], stubborn[1]], timeout=60.0)
