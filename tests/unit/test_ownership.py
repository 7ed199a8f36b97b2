"""Whose root a journal is: its own, a copy's, one that was moved, restored or brought from elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.slots import SlotName
from substitute.core.ports.source import Revision
from substitute.core.state import ownership
from substitute.core.state.journal import Journal
from substitute.wiring.place import place_of
from tests.unit.fakes.shop import make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from substitute.core.state.ownership import Place
    from tests.unit.fakes.shop import Shop


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Of a shop whose slot b is live; a build and a guest are under way."""
    made = make_shop(tmp_path / "production")
    deploy(made.host, made.app, "v1")
    deploy(made.host, made.app, "v2")
    deploying = made.host.journal.begin(
        "shop", SlotName.A, "deploy", revision=Revision("v3", "", ""), previous="v2", now=0
    )
    made.host.journal.command_started("shop", made.world.running["shop_b"])
    assert deploying
    assert recognized(made.app.root) == ""
    yield made.app.root
    made.host.journal.close()


def recognized(root: Path, place: Place | None = None) -> str:
    """What is told when a command finds the root there; twice it is not."""
    told: list[object] = []
    with_journal = Journal(root / "deploy" / "journal.db")
    for _ in range(2):
        ownership.recognize(with_journal, place or place_of(root), told.append)
    with_journal.close()
    return "\n".join(map(str, told))


def processes(root: Path) -> list[bool]:
    journal = Journal(root / "deploy" / "journal.db")
    found = [bool(slot.started) for _, slot in sorted(journal.app("shop").slots.items())]
    assert {slot.directory.parent for slot in journal.app("shop").slots.values()} == {root}
    journal.close()
    return found


def test_a_root_that_is_where_it_was_is_nothing_to_tell(root: Path, tmp_path: Path) -> None:
    assert recognized(root) == ""
    (tmp_path / "link").symlink_to(root)
    assert recognized(tmp_path / "link") == ""
    assert processes(root) == [False, True]


@pytest.mark.parametrize("upgraded", [False, True])
def test_of_a_copy_nothing_runs_and_nothing_is_live(root: Path, tmp_path: Path, *, upgraded: bool) -> None:
    if upgraded:  # it was copied before there was a fact to copy
        journal = Journal(root / "deploy" / "journal.db")
        with journal._write() as db:
            db.execute("DELETE FROM fact")
        journal.close()
    copy = tmp_path / "staging"
    shutil.copytree(root, copy, symlinks=True)
    assert f"is a copy of {root}" in recognized(copy)
    assert recognized(copy) == ""
    assert processes(copy) == [False, False]
    journal = Journal(copy / "deploy" / "journal.db")
    assert (journal.app("shop").live, journal.commands("shop"), journal.unfinished("shop")) == (None, [], [])
    assert len(journal.history("shop")) == 3
    assert [slot.share for slot in journal.app("shop").slots.values()] == [0, 0]
    journal.close()
    assert recognized(root) == ""
    assert processes(root) == [False, True]


def test_a_root_that_was_moved_goes_on(root: Path, tmp_path: Path) -> None:
    moved = root.rename(tmp_path / "elsewhere")
    assert f"was moved here from {root}" in recognized(moved)
    assert processes(moved) == [False, True]
    journal = Journal(moved / "deploy" / "journal.db")
    assert ownership.former_place(journal) == root
    shutil.copytree(moved, root, symlinks=True)
    assert ownership.former_place(journal) is None
    journal.close()


def test_a_root_that_was_brought_from_elsewhere_starts_what_was_live(root: Path, tmp_path: Path) -> None:
    brought = tmp_path / "restored"
    shutil.copytree(root, brought, symlinks=True)
    shutil.rmtree(root)
    root.mkdir()
    assert f"was in {root}, which is gone" in recognized(brought)
    assert processes(brought) == [False, False]


def test_another_machine_runs_nothing_of_it(root: Path) -> None:
    """Its processes are of another boot's, and so none of this machine's."""
    journal = Journal(root / "deploy" / "journal.db")
    journal.remember("runtime", "systemd")
    assert "comes from another machine" in recognized(root, replace(place_of(root), machine="another"))
    assert journal.fact("runtime") is None
    assert recognized(root, replace(place_of(root), machine="another")) == ""
    journal.close()


def test_a_directory_that_was_restored_keeps_what_works_in_it(root: Path) -> None:
    assert "as from a backup" in recognized(root, replace(place_of(root), inode=1))
    assert recognized(root, replace(place_of(root), inode=2, device=1, machine=None)) == ""
    assert processes(root) == [False, True]


def test_what_runs_for_another_root_gets_no_signal(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    theirs = shop.world.running.pop("shop_a")
    shop.world.running["theirs"] = theirs
    shop.world.programs["theirs"] = replace(shop.world.programs["shop_a"], environment={"PORT": "9"})
    shop.world.elsewhere.add(theirs)
    assert not shop.host.runs(shop.host.journal.app("shop").slots[SlotName.A])
    given: list[object] = []
    stop = shop.host.runtime.stop

    def stopped(name: str, process: object, *, timeout: float, signal: str) -> object:
        given.append(process)
        return stop(name, None, timeout=timeout, signal=signal)

    shop.host.runtime.stop = stopped  # type: ignore[method-assign, assignment]
    deploy(shop.host, shop.app, "v2")
    assert given
    assert theirs not in given
    assert theirs in shop.world.running.values()
