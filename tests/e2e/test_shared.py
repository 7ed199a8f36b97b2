"""What an app keeps in its directory is there for the next version, and nothing that it wrote is ever deleted."""

from __future__ import annotations

import sqlite3
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site

APP = Path(__file__).with_name("keeping_app.py").read_text()


class Writer:
    """Has the app keep one number after the other, and knows which ones it has said are kept."""

    def __init__(self, url: str) -> None:
        self.kept: list[int] = []
        self.failed: list[str] = []
        self._url, self._ends = url, threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(first,)) for first in (0, 1)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(self.kept) > 5, "numbers are kept")
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        while not self._ends.is_set():
            try:
                with urllib.request.urlopen(self._url, data=str(number).encode(), timeout=60) as answer:
                    answer.read()
                self.kept.append(number)
            except OSError as error:
                self.failed.append(f"{number}: {error}")
            number += 2


def all_kept(site: Site) -> list[int]:
    with urllib.request.urlopen(site.url, timeout=60) as answer:
        return [int(word) for word in answer.read().decode().split(": ")[1].split()]


def configure(site: Site, shared: str = "[]", *, clean: bool = False) -> None:
    site.configure(more=f"shared = {shared}\nclean = {'true' if clean else 'false'}\n")


@pytest.fixture
def keeping(site: Site) -> Site:
    """Version 1 of an app that keeps things is committed."""
    site.repository.commit("1", app=APP)
    configure(site)
    return site


def test_two_versions_have_one_history_over_five_deployments_and_a_rollback_while_it_is_written(
    keeping: Site,
) -> None:
    keeping.run("deploy")
    with Writer(keeping.url) as writer:
        configure(keeping, '["storage", "db.sqlite3"]')
        for version in range(2, 7):
            keeping.repository.commit(str(version), app=APP)
            keeping.run("deploy")
        keeping.run("rollback")
    assert not writer.failed
    assert set(writer.kept) <= set(all_kept(keeping))
    shared = keeping.root / "deploy/shop/shared"
    assert {f"{number}.txt" for number in writer.kept} <= {
        file.name for file in (shared / "storage").iterdir()
    }
    with sqlite3.connect(shared / "db.sqlite3") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for slot in "ab":
        assert (keeping.root / f"shop_{slot}/storage").resolve() == shared / "storage"
    assert not (keeping.root / "deploy/shop/kept").exists()


def test_what_an_app_wrote_in_its_slot_is_told_once_a_deployment_and_never_cleaned_away(
    keeping: Site,
) -> None:
    configure(keeping, clean=True)
    numbers = iter(range(100))
    for version in range(1, 6):
        keeping.repository.commit(str(version), app=APP)
        told = [event["message"] for event in keeping.events("deploy") if event["event"] == "warning"]
        of_it = [message for message in told if 'shared = ["db.sqlite3", "storage"]' in message]
        assert len(of_it) == {1: 0, 2: 1}.get(version, 2), (
            told
        )  # what the other version wrote, what clean would take
        urllib.request.urlopen(keeping.url, data=str(next(numbers)).encode(), timeout=60).close()
    kept = keeping.root / "deploy/shop/kept"
    files = {file.name for file in [*kept.glob("*/storage/*"), *keeping.root.glob("shop_?/storage/*")]}
    assert files == {f"{number}.txt" for number in range(5)}
    databases = [*kept.glob("*/db.sqlite3"), *keeping.root.glob("shop_?/db.sqlite3")]
    found = [sqlite3.connect(file).execute("SELECT number FROM kept").fetchall() for file in databases]
    assert sorted(number for rows in found for (number,) in rows) == list(range(5))


def test_a_version_of_before_is_led_to_what_is_shared_and_its_own_is_kept(keeping: Site) -> None:
    """Also what the repository tracks there, what is not shared any more, and what is shared again."""
    place = keeping.repository.directory / "storage"
    place.mkdir()
    (place / "seed.txt").write_text("seed")
    keeping.repository.commit("1", app=APP)
    keeping.run("deploy")
    urllib.request.urlopen(keeping.url, data=b"1", timeout=60).close()
    keeping.repository.commit("2", app=APP)
    keeping.run("deploy")
    urllib.request.urlopen(keeping.url, data=b"2", timeout=60).close()

    configure(keeping, '["storage", "db.sqlite3"]')
    told = keeping.run("rollback").stdout
    shared, kept = keeping.root / "deploy/shop/shared", keeping.root / "deploy/shop/kept"
    assert all_kept(keeping) == [2]
    assert {file.name for file in (shared / "storage").iterdir()} == {"seed.txt", "2.txt"}
    assert "Slot a had its own storage beside the shared one." in told
    assert [file.read_text() for file in kept.glob("*-a/storage/1.txt")] == ["1"]
    [database] = kept.glob("*-a/db.sqlite3")
    assert sqlite3.connect(database).execute("SELECT number FROM kept").fetchall() == [(1,)]

    keeping.repository.commit("3", app=APP, build="git describe --always --dirty > described\n")
    keeping.run("deploy")
    assert "dirty" not in (keeping.root / "shop_b/described").read_text()
    assert all_kept(keeping) == [2]
    configure(keeping, '["db.sqlite3"]')
    keeping.repository.commit("4", app=APP)
    assert "storage is not shared any more: slot a has its own." in keeping.run("deploy").stdout
    assert [file.name for file in (keeping.root / "shop_a/storage").iterdir()] == ["seed.txt"]
    urllib.request.urlopen(keeping.url, data=b"4", timeout=60).close()
    configure(keeping, '["storage", "db.sqlite3"]')
    keeping.repository.commit("5", app=APP)
    assert "deploy/shop/shared/storage was replaced" in keeping.run("deploy").stdout
    assert {file.name for file in (shared / "storage").iterdir()} == {"seed.txt", "4.txt"}
    assert {file.name for file in kept.glob("*-shared/storage/*")} == {"seed.txt", "2.txt"}
