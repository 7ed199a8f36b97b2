"""What supervisord does beyond the promise of every runtime."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.state.lock import deployment_lock
from substitute.linux.processes import identify, is_alive, is_stopped
from substitute.runtimes.handover import RuntimeHandover
from substitute.runtimes.supervisord import daemon
from substitute.runtimes.supervisord import runtime as supervisord
from substitute.runtimes.supervisord.refusals import Fault, Silent
from tests.contracts.test_runtime import POLITE, Place
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place("supervisord", tmp_path / "deploy" / "run")
    yield made
    made.close()


def test_an_orphan_of_a_killed_runtime_is_stopped_by_its_identity(place: Place) -> None:
    process = place.start()
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: place.runtime.inspect("shop_a").process is None, "the runtime is gone")
    assert is_alive(process)
    place.runtime.stop("shop_a", process, timeout=10.0)
    assert not is_alive(process)


def test_an_orphan_gets_the_signal_that_it_finishes_its_work_on(place: Place) -> None:
    (place.run / "polite.py").write_text(POLITE)
    process = place.runtime.start(
        place.program(f"{sys.executable} -S -E polite.py", {}, stop_signal="SIGQUIT")
    )
    place.logged("ready")
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: place.runtime.inspect("shop_a").process is None, "the runtime is gone")
    assert not place.runtime.stop("shop_a", process, timeout=10.0, signal="SIGQUIT").killed
    assert "SIGQUIT came" in place.log
    assert "SIGTERM came" not in place.log


def test_stale_files_of_a_killed_runtime_do_not_stop_a_start(place: Place) -> None:
    process = place.start()
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    place.runtime.stop("shop_a", process, timeout=10.0)
    assert (place.run / "supervisord.sock").exists()
    again = place.start()
    assert is_alive(again)


def test_the_lives_of_one_that_crashes_are_told_by_their_pids(place: Place) -> None:
    first = place.start()
    os.kill(first.pid, signal.SIGKILL)

    def pids() -> tuple[int, ...]:
        return place.runtime.inspect("shop_a").pids

    eventually(lambda: len(pids()) > 1 and place.runtime.inspect("shop_a").process is not None, "it is back")
    again = place.runtime.inspect("shop_a").process
    assert again
    assert pids() == (first.pid, again.pid)


def supervisords(run: Path) -> set[int]:
    """Those that work for `run`."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            title = Path("/proc", entry, "cmdline").read_bytes()
            if b"supervisor.supervisord" in title and Path("/proc", entry, "cwd").samefile(run):
                found.add(int(entry))
        except OSError:
            continue
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "PATIENCE", 0.3)


@pytest.mark.usefixtures("impatient")
def test_one_that_is_stopped_is_named_then_ended_and_there_are_never_two(place: Place) -> None:
    process = place.start()
    (before,) = supervisords(place.run)
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: is_stopped(before), "it has stopped")
    told: list[str] = []
    runtime = supervisord.connect(place.run, told.append)
    with pytest.raises(Silent, match=rf"supervisord \(pid {before}\) does not answer"):
        runtime.inspect("shop_a")
    with pytest.raises(Silent):
        runtime.kept()
    assert supervisords(place.run) == {before}
    other = replace(place.program("sleep 600", {}), name="shop_b")
    place.runtime = runtime
    started = runtime.start(other)
    try:
        assert is_alive(process)
        assert before not in supervisords(place.run)
        assert len(supervisords(place.run)) == 1
        assert f"kill -CONT {before}" in told[0]
        assert f"supervisord (pid {before}) did not answer and was ended" in told[1]
        assert runtime.kept() == {"shop_b"}
        runtime.stop("shop_a", process, timeout=10.0)
        assert not is_alive(process)
    finally:
        runtime.stop("shop_b", started, timeout=10.0)


def test_one_that_is_stopped_is_not_waited_for_as_one_that_is_busy(place: Place) -> None:
    place.start()
    (before,) = supervisords(place.run)
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: is_stopped(before), "it has stopped")
    with pytest.raises(Silent, match="does not go on within 1s"):
        supervisord.connect(place.run).kept()
    os.kill(before, signal.SIGCONT)
    assert place.runtime.kept() == {"shop_a"}


@pytest.mark.usefixtures("impatient")
def test_what_a_stopped_one_keeps_is_ended_for_good(place: Place) -> None:
    process = place.start()
    (before,) = supervisords(place.run)
    os.kill(before, signal.SIGSTOP)
    runtime = supervisord.connect(place.run)
    assert not runtime.stop("shop_a", process, timeout=10.0).killed
    assert not is_alive(process)
    assert not supervisords(place.run)


def test_one_whose_socket_was_removed_is_not_joined_by_a_second(place: Place) -> None:
    place.start()
    (before,) = supervisords(place.run)
    (place.run / "supervisord.sock").unlink()
    runtime = supervisord.connect(place.run)
    started = runtime.start(replace(place.program("sleep 600", {}), name="shop_b"))
    runtime.stop("shop_b", started, timeout=10.0)
    assert before not in supervisords(place.run)
    assert len(supervisords(place.run)) == 1


@pytest.mark.usefixtures("impatient")
def test_an_earlier_one_that_is_silent_is_not_taken_for_one_that_keeps_nothing(
    place: Place, tmp_path: Path
) -> None:
    process = place.start()
    (before,) = supervisords(place.run)
    later = Place("supervisord", tmp_path / "later" / "run")
    try:
        started = later.runtime.start(replace(later.program("sleep 600", {}), name="shop_b"))
        os.kill(before, signal.SIGSTOP)
        both = RuntimeHandover(later.runtime, supervisord.connect(place.run))
        both.stop("shop_b", started, timeout=10.0)
        assert not both.release("shop_a")
        os.kill(before, signal.SIGCONT)
        assert supervisords(place.run) == {before}
        assert is_alive(process)
        assert identify(before)
    finally:
        os.kill(before, signal.SIGCONT)
        later.close()


def test_how_an_earlier_run_ended_is_not_told_of_one_that_supervisord_has_not_yet_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text(
        "INFO spawned: 'shop_a' with pid 900000001\nWARN exited: shop_a (exit status 3; not expected)\n"
        "INFO spawned: 'shop_a' with pid 900000002\n"
    )
    runtime = supervisord.connect(tmp_path)
    monkeypatch.setattr(runtime, "_info", lambda _: {"pid": 900000002, "statename": "RUNNING"})
    assert runtime.inspect("shop_a").exit == ""
    with log.open("a") as more:
        more.write("WARN exited: shop_a (terminated by SIGKILL; not expected)\n")
    assert runtime.inspect("shop_a").exit == "terminated by SIGKILL"
    with log.open("a") as more:
        more.write(f"INFO spawned: 'shop_a' with pid {os.getpid()}\n")
    monkeypatch.setattr(runtime, "_info", lambda _: {"pid": os.getpid(), "statename": "RUNNING"})
    assert runtime.inspect("shop_a").exit == "terminated by SIGKILL"  # the one before
    monkeypatch.setattr(runtime, "_info", lambda _: {"pid": 900000003, "statename": "RUNNING"})
    assert runtime.inspect("shop_a").exit == ""


def test_the_log_belongs_to_its_owner_alone(place: Place) -> None:
    place.start("echo a secret; sleep 600")
    place.logged("a secret")
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert (place.run / "shop_a.sh").stat().st_mode & 0o777 == 0o700


def test_a_sigterm_right_after_a_start_is_not_lost(place: Place) -> None:
    for _ in range(40):
        process = place.start()
        assert not place.runtime.stop("shop_a", process, timeout=10.0).killed


def test_one_that_has_ended_before_supervisord_says_that_it_runs_is_told_in_its_own_words(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.runtime.stop("shop_a", None, timeout=0.0)
    call = place.runtime._daemon.call  # type: ignore[attr-defined]

    def late(method: str, *arguments: object) -> object:
        answer = call(method, *arguments)
        if method == "startProcess":
            eventually(lambda: call("getProcessInfo", "shop_a")["statename"] == "BACKOFF", "it has ended")
            raise Fault(50, "SPAWN_ERROR: shop_a")
        return answer

    monkeypatch.setattr(place.runtime._daemon, "call", late)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeFailedError, match=r"(?s)exited as soon as it was started.*Permission denied"):
        place.start("echo Permission denied >&2; exit 126")


def test_an_app_called_supervisord_does_not_wait_for_itself(place: Place) -> None:
    ended: list[bool] = []

    def start() -> None:
        place.start()
        ended.append(True)

    with deployment_lock(place.run / "supervisord.lock", "deploy"):
        thread = Thread(target=start, daemon=True)
        thread.start()
        thread.join(60)
        assert ended
