"""Locks: each its own, whatever an app or a guest is called."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from substitute.core.journal import Journal
from substitute.core.lock import deployment_lock

if TYPE_CHECKING:
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
        thread.join(10)
    assert ended == [name]
