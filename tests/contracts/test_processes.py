from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.linux import processes
from substitute.linux.init_system import enclosing_service
from substitute.runtimes.orphans import wait_or_kill
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as program:
        process = processes.identify(program.pid, zombie=True)
        assert process
        try:
            yield program
        finally:
            processes.signal_group(process, signal.SIGKILL)


def test_a_process_keeps_its_identity_until_it_ends() -> None:
    with started("sleep", "1000") as program:
        process = processes.identify(program.pid)
        assert process == processes.identify(program.pid)
        assert process
        assert processes.is_alive(process)
        assert processes.signal_process(process, signal.SIGKILL)
        eventually(lambda: processes.identify(program.pid) is None)  # a zombie still
        assert processes.identify(program.pid, zombie=True) == process
        program.wait()
        assert processes.identify(program.pid, zombie=True) is None
        assert not processes.signal_process(process, signal.SIGKILL)


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another"}])
def test_no_signal_reaches_a_process_that_only_has_the_same_pid(change: dict[str, object]) -> None:
    with started("sleep", "1000") as program:
        process = processes.identify(program.pid)
        assert process
        other = replace(process, **change)  # type: ignore[arg-type]
        assert not processes.is_alive(other)
        assert not processes.signal_process(other, signal.SIGKILL)
        assert not processes.signal_group(other, signal.SIGKILL)
        assert processes.is_alive(process)


def test_a_name_with_blanks_and_parentheses_confuses_nothing(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to(sleep)
    with started(str(odd), "1000") as program:
        eventually(lambda: b"a) R 1 (b" in processes._read(program.pid, "comm"))
        stat = processes._stat(program.pid)
        assert stat
        assert (stat.parent, stat.group) == (os.getpid(), program.pid)


def test_descendants_are_found_at_any_depth() -> None:
    with started("bash", "-c", "bash -c 'sleep 1000 & echo $!; wait' & echo $!; wait") as program:
        assert program.stdout
        expected = {int(program.stdout.readline()), int(program.stdout.readline())}
        assert processes.descendants(program.pid) == expected
        assert program.pid in processes.descendants(os.getpid())


def test_a_group_is_found_and_signalled_after_its_leader_has_exited() -> None:
    with started("bash", "-c", "sleep 1000 & sleep 1000 & echo") as program:
        leader = processes.identify(program.pid, zombie=True)
        assert leader
        program.wait()
        assert len(processes.group_members(program.pid)) == 2
        assert processes.group_of(leader) == processes.group_members(program.pid)
        assert processes.signal_group(leader, signal.SIGKILL)
        eventually(lambda: not processes.group_of(leader))
        assert not processes.signal_group(leader, signal.SIGKILL)


def test_a_group_older_than_its_remembered_leader_is_another_one() -> None:
    with started("bash", "-c", "sleep 1000 & echo") as program:
        leader = processes.identify(program.pid, zombie=True)
        assert leader
        program.wait()
        later = replace(leader, start_time=leader.start_time + 10**9)
        assert processes.group_of(later) == set()
        assert not processes.signal_group(later, signal.SIGKILL)


def test_a_process_is_named_after_its_command() -> None:
    with started("sleep", "1000") as program:
        eventually(lambda: processes.name(program.pid) == "sleep")
    assert processes.name(2**22 + 1) == "?"


def test_signals_work_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with started("sleep", "1000") as program:
        process = processes.identify(program.pid)
        assert process
        assert processes.signal_process(process, signal.SIGTERM)
        assert program.wait() == -signal.SIGTERM


def test_a_service_that_would_end_what_it_starts_is_named() -> None:
    assert enclosing_service("0::/system.slice/actions.runner.service\n") == "actions.runner.service"
    assert enclosing_service("0::/user.slice/user-1000.slice/user@1000.service/app.slice\n") is None
    assert enclosing_service("0::/user.slice/user-0.slice/session-3.scope\n") is None
    assert enclosing_service("0::/system.slice/cron.service\n") is None


def test_a_process_is_known_by_its_environment_however_long_that_is(tmp_path: Path) -> None:
    marks = {"SUBSTITUTE_APP": "shop", "SUBSTITUTE_SLOT": str(tmp_path)}
    secrets = {f"SECRET{number}": "x" * 1000 for number in range(40)}
    environment = {"PATH": os.environ["PATH"], **secrets, **marks}
    with subprocess.Popen(
        ["sleep", "1000"], cwd=tmp_path, env=environment, start_new_session=True
    ) as program:
        try:
            eventually(lambda: processes.name(program.pid) == "sleep")
            assert processes.started_with(marks, without="HOOK") == [processes.identify(program.pid)]
            assert not processes.started_with({**marks, "SUBSTITUTE_APP": "another"}, without="HOOK")
            assert not processes.started_with(marks, without="SECRET7")
        finally:
            program.kill()


def test_what_somebody_runs_at_a_terminal_is_not_known_by_its_environment(tmp_path: Path) -> None:
    """Whoever looks for a fault gives a program the environment of another one."""
    marks = {"SUBSTITUTE_DIRECTORY": str(tmp_path)}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("sleep", ["sleep", "1000"], {**os.environ, **marks})  # noqa: S606
    try:
        eventually(lambda: processes.name(pid) == "sleep")
        assert not processes.started_with(marks, without="HOOK")
        os.close(terminal)
        os.waitpid(pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_one_that_leads_no_group_is_signalled_alone() -> None:
    with started("bash", "-c", "sleep 1000 & echo $!; sleep 1000 & echo $!") as program:
        assert program.stdout
        one, other = (processes.identify(int(program.stdout.readline())) for _ in range(2))
        leader = processes.identify(program.pid, zombie=True)
        program.wait()
        assert one
        assert other
        assert leader
        assert processes.group_of(one) == {one.pid}
        assert wait_or_kill("shop_a", one, 0.0, "SIGTERM").killed
        assert not processes.is_alive(one)
        assert processes.is_alive(other)
        # What is left of a group gets the signal too.
        assert not wait_or_kill("shop_a", leader, time.monotonic() + 30, "SIGTERM").killed
        assert not processes.is_alive(other)


def test_where_only_a_child_had_to_be_killed_the_result_names_it() -> None:
    with started(
        "bash", "-c", "(trap '' TERM; echo $BASHPID; while :; do sleep 1; done) & sleep 1000"
    ) as program:
        assert program.stdout
        child = int(program.stdout.readline())
        leader = processes.identify(program.pid)
        assert leader
        program.terminate()
        program.wait()
        stopped = wait_or_kill("shop_a", leader, time.monotonic() + 0.2, "SIGTERM")
        assert stopped.killed
        assert f"bash (pid {child})" in stopped.stayed
        assert f"(pid {leader.pid})" not in stopped.stayed


def test_where_the_main_process_itself_had_to_be_killed_nothing_else_is_named() -> None:
    with started("bash", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done") as program:
        assert program.stdout
        program.stdout.readline()
        leader = processes.identify(program.pid)
        assert leader
        program.terminate()
        stopped = wait_or_kill("shop_a", leader, 0.0, "SIGTERM")
        assert (stopped.killed, stopped.stayed) == (True, "")
