"""Locks: each its own, whatever an app or a guest is called."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING

import pytest

from substitute.core.errors import LockedError
from substitute.core.journal import Journal
from substitute.core.lock import deployment_lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes import Shop


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
