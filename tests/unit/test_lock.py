"""Locks: each its own, whatever an app or a guest is called."""

from __future__ import annotations

import os
from dataclasses import replace
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import LockedError
from substitute.core.state.journal import Journal
from substitute.core.state.lock import RECOVERY, deployment_lock
from substitute.core.state.waiting import CLEANUP, how_to_end
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes.shop import Shop


@pytest.mark.parametrize("name", ["routes", "journal", "supervisord"])
def test_an_app_or_a_guest_may_be_called_like_a_lock_of_ours(shop: Shop, name: str) -> None:
    host, ended = shop.host, []
    locks = host.lock_path(name), host.guest_lock_path(name)

    def route() -> None:
        journal = Journal(host.journal.path)
        journal.register(replace(shop.app, name=name))
        replace(host, journal=journal).route(name, {})
        journal.close()
        ended.append(name)

    with deployment_lock(locks[0], "deploy"), deployment_lock(locks[1], "start"):
        thread = Thread(target=route, daemon=True)
        thread.start()
        thread.join(30)
    assert ended == [name]


@pytest.mark.parametrize("operation", ["recovery", "up"])
def test_what_runs_with_nobody_typing_is_waited_for(tmp_path: Path, operation: str) -> None:
    """At boot `up` is tried again and again, and the fix must get through."""
    asked, freed = Event(), Event()
    path = tmp_path / "lock"

    def hold() -> None:
        with deployment_lock(path, operation):
            asked.set()
            freed.wait(10)

    holding = Thread(target=hold)
    holding.start()
    asked.wait(10)
    Timer(0.05, freed.set).start()
    with deployment_lock(path, "deploy"):
        assert freed.is_set()
    holding.join()
    with deployment_lock(path, "deploy"), pytest.raises(LockedError), deployment_lock(path, "deploy"):
        pass


@pytest.mark.parametrize(
    ("operation", "phase", "ends"),
    [
        ("deploy", "", True),
        ("deploy", "build", True),
        ("check", "verify", True),
        ("rollback", "commit", False),
        ("deploy", "drain", False),
        ("restart", "stop", False),
        ("deploy", CLEANUP, False),
        ("down", "", True),
        ("start", "", True),
        ("adopt", "", False),
        ("recovery", "", False),
    ],
)
def test_who_is_locked_out_is_told_to_end_the_other_command_only_where_a_signal_does(
    operation: str,
    phase: str,
    ends: bool,  # noqa: FBT001
) -> None:
    advice = how_to_end(operation, phase, 4321, typed="start")
    assert ("`kill 4321`" in advice) == ends
    assert "wait for it" in advice.lower()


def test_the_advice_is_that_of_the_phase(tmp_path: Path) -> None:
    with deployment_lock(tmp_path / "lock", "deploy") as lock:
        for phase, said in {"ready": f"kill {os.getpid()}", "drain": "Its version is live already"}.items():
            lock.phase(phase)
            with pytest.raises(LockedError, match=said), deployment_lock(tmp_path / "lock", "deploy"):
                pass


def test_those_who_wait_get_it_in_their_order_and_are_told_whom_they_wait_for(tmp_path: Path) -> None:
    path, order, told = tmp_path / "lock", list[str](), list[str]()
    waiting: list[Thread] = []

    def wait(name: str) -> None:
        with deployment_lock(path, name, wait=30, tell=told.append):
            order.append(name)

    left = path.with_name("lock.waits.00000000000000000001.1")
    left.touch()  # of one who was killed
    with deployment_lock(path, "deploy", wait=30) as lock:
        lock.phase("build")
        for number in range(1, 6):
            waiting.append(Thread(target=wait, args=[str(number)]))
            waiting[-1].start()
            eventually(lambda: len(told) == len(waiting), "it is in the queue")
        with pytest.raises(LockedError, match=r"--wait 10m"), deployment_lock(path, "deploy"):
            pass
        with pytest.raises(LockedError, match=r"After 0\.1s"), deployment_lock(path, "deploy", wait=0.1):
            pass
    for thread in waiting:
        thread.join(30)
    assert order == ["1", "2", "3", "4", "5"]
    assert f"Waiting, for at most 30s, for `deploy` (pid {os.getpid()})" in told[0]
    assert "now in phase build" in told[0]
    assert not list(tmp_path.glob("lock.waits*"))


def test_whoever_waits_for_a_recovery_that_takes_a_while_is_told(tmp_path: Path) -> None:
    path, told, entered = tmp_path / "lock", list[str](), list[str]()

    def wait() -> None:
        with deployment_lock(path, "deploy", tell=told.append):
            entered.append("deploy")

    waiting = Thread(target=wait)
    with deployment_lock(path, RECOVERY):
        waiting.start()
        eventually(lambda: told, "it is told")
        assert not entered
    waiting.join(30)
    assert entered == ["deploy"]
    assert len(told) == 1
    assert f"Waiting, for at most 60s, for `recovery` (pid {os.getpid()})" in told[0]


@pytest.mark.parametrize(("typed", "may_cut"), [("rollback", True), ("deploy", True), ("stop", False)])
def test_whoever_waits_for_a_drain_is_told_what_for_and_what_cuts_it(
    tmp_path: Path,
    typed: str,
    may_cut: bool,  # noqa: FBT001
) -> None:
    told, left = list[str](), "Slot a still finishes 2 requests, for at most 300s in all (drain.timeout)."
    with deployment_lock(tmp_path / "lock", RECOVERY) as lock:
        lock.phase("drain", left)
        with (
            pytest.raises(LockedError, match=r"After 1\.5s") as refused,
            deployment_lock(tmp_path / "lock", typed, patience=1.5, tell=told.append),
        ):
            pass
    (waiting,) = told
    for text in (waiting, str(refused.value)):
        assert "now in phase drain" in text
        assert left in text
        assert (f"`{typed} --now`" in text) == may_cut
    assert "With `--wait 10m` this command waits longer." in str(refused.value)


def test_whoever_waits_for_a_recovery_is_told_when_it_comes_to_something_else(tmp_path: Path) -> None:
    path, told = tmp_path / "lock", list[str]()

    def wait() -> None:
        with deployment_lock(path, "deploy", tell=told.append):
            pass

    waiting = Thread(target=wait)
    with deployment_lock(path, RECOVERY) as lock:
        lock.phase("drain", "Slot a still finishes 1 request.")
        waiting.start()
        eventually(lambda: len(told) == 1, "it is told")
        lock.phase("stop", "Slot a has at most 30s.")
        eventually(lambda: len(told) == 2, "it is told again")
    waiting.join(30)
    assert "Slot a has at most 30s." in told[1]
