"""A machine that does everything wrong, with requests flowing. Not one may fail, and nothing is mended by hand."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_deployments import under_load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.site import Site


def _garbage(journal: Path) -> None:
    journal.write_bytes(b"not a database" * 1000)


def _truncated(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])


def _emptied(journal: Path) -> None:
    journal.write_bytes(b"")


def _deleted(journal: Path) -> None:
    journal.unlink()


LOST: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (_garbage, "was damaged and is kept as"),
    "truncated": (_truncated, "was damaged and is kept as"),
    "emptied": (_emptied, "was gone"),
    "deleted": (_deleted, "was gone"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_lost_journal_is_made_anew_from_what_is_observed_and_said(site: Site, how: str) -> None:
    lose, told = LOST[how]
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.assert_only_serves("b")
    pid = site.app()["slots"]["b"]["pid"]
    journal = site.root / "deploy" / "journal.db"

    def go_on() -> None:
        for ending in ("-wal", "-shm"):  # it would all be there still
            journal.with_name(journal.name + ending).unlink(missing_ok=True)
        lose(journal)
        said = site.run("up").stdout
        assert told in said
        assert "shop is live in slot b" in said
        site.assert_only_serves("b")
        assert site.app()["slots"]["b"]["pid"] == pid
        site.repository.commit("3")
        assert "journal" not in site.run("deploy").stdout
        site.assert_only_serves("a")
        site.run("rollback")
        site.assert_only_serves("b")

    assert under_load(site, go_on) == {"2", "3"}
    kept = list(journal.parent.glob("journal.db.damaged-*"))
    assert len(kept) == ("damaged" in told)


def test_after_a_reboot_without_a_journal_up_starts_what_was_live(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.run("down")
    for part in (site.root / "deploy").glob("journal.db*"):
        part.unlink()
    assert "shop is live in slot b" in site.run("up").stdout
    site.assert_only_serves("b")


def test_the_journal_of_a_newer_version_is_left_as_it_is_and_said(site: Site) -> None:
    site.run("deploy")
    journal = site.root / "deploy" / "journal.db"
    with sqlite3.connect(journal) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    def refused() -> None:
        said = site.run("deploy", exit_status=1).stderr
        assert "written by a newer version of substitute" in said
        assert "Traceback" not in said

    under_load(site, refused)
    with sqlite3.connect(journal) as newer:
        newer.execute("PRAGMA user_version = 1")
    newer.close()
    site.run("deploy")
    site.assert_only_serves("b")
