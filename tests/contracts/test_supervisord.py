"""What supervisord does beyond the promise of every runtime."""

from __future__ import annotations

import os
import signal
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from substitute.core.lock import deployment_lock
from substitute.processes import is_alive
from tests.contracts.test_runtime import Place, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


def test_stale_files_of_a_killed_runtime_do_not_stop_a_start(place: Place) -> None:
    process = place.start()
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    place.runtime.stop("shop_a", process, timeout=10.0)
    assert (place.run / "supervisord.sock").exists()
    again = place.start()
    assert is_alive(again)


def test_the_log_belongs_to_its_owner_alone(place: Place) -> None:
    place.start("echo a secret; sleep 600")
    place.logged("a secret")
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert (place.run / "shop_a.sh").stat().st_mode & 0o777 == 0o700


def test_a_sigterm_right_after_a_start_is_not_lost(place: Place) -> None:
    for _ in range(40):
        process = place.start()
        assert not place.runtime.stop("shop_a", process, timeout=10.0).killed


def test_an_app_called_supervisord_does_not_wait_for_itself(place: Place) -> None:
    ended: list[bool] = []

    def start() -> None:
        place.start()
        ended.append(True)

    with deployment_lock(place.run / "supervisord.lock", "deploy"):
        thread = Thread(target=start, daemon=True)
        thread.start()
        thread.join(20)
        assert ended
