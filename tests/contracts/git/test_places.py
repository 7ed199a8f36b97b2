"""Directories of versions: made one from another, and removed as far as they were made here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from substitute.sources.git.source import Git
from tests.contracts.repositories import IDENTITY, Place, page

if TYPE_CHECKING:
    from pathlib import Path


class Root(Place):
    """Versions in any number of places."""

    def source(self, branch: str | None = None, repo: str | None = None, **environment: str) -> Git:
        told = (self.notices.append, self.warnings.append)
        places = lambda: [*self.root.glob("shop_*")]  # noqa: E731
        given = {**IDENTITY, **environment}
        repo = repo or str(self.repository.directory)
        return Git(repo, branch, places, given, *told, state=self.root / "state")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path)
    source = made.source()
    source.update(made.a, source.resolve(made.a, None).commit, clean=False)
    return made


def fill(directory: Path) -> None:
    """Have it hold what a build makes."""
    (directory / "built" / "deep").mkdir(parents=True)
    (directory / "built" / "page").write_text("built")
    (directory / "built" / "deep" / "same").hardlink_to(directory / "built" / "page")
    (directory / "link").symlink_to("built")
    (directory / "dangling").symlink_to("nowhere")


def test_a_place_is_made_from_another_one_without_the_remote(root: Root) -> None:
    second = root.repository.commit("two")
    source = root.source()
    source.resolve(root.a, None)
    root.lose_the_remote()
    new = root.root / "shop_7"
    source.update(new, second, clean=False)
    assert (page(new), page(root.a)) == ("two", "one")
    assert source.current(new) == second
    assert not root.warnings


def test_what_was_there_when_it_was_sealed_goes_and_what_was_written_since_stays(root: Root) -> None:
    fill(root.a)
    source = root.source()
    source.seal(root.a)
    new = root.root / "shop_7"
    source.update(new, root.first, clean=False)  # its objects have a second name now
    (root.a / "built" / "orders").write_text("7")
    (root.a / "__pycache__").mkdir()
    (root.a / "__pycache__" / "page.pyc").write_text("derived")
    (root.a / "page").write_text("edited by hand")
    (root.a / "mine").symlink_to("/etc/passwd")
    assert source.remove(root.a) == ["built/orders", "mine", "page"]
    assert sorted(str(one.relative_to(root.a)) for one in root.a.rglob("*")) == [
        *("built", "built/orders", "mine", "page")
    ]
    assert page(new) == "one"
    assert not list((root.root / "state").iterdir())


def test_removing_that_was_killed_is_gone_on_with(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root.a)
    source = root.source()
    source.seal(root.a)
    unlink, left = os.unlink, iter(range(5))

    def killed(*arguments: object, **options: object) -> None:
        next(left)
        unlink(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", killed)
        with pytest.raises(StopIteration):
            source.remove(root.a)
    assert root.a.exists()
    assert source.remove(root.a) == []
    assert not root.a.exists()
    assert source.remove(root.a) == []  # and once more, when it was not noted that it is gone


def test_what_was_never_sealed_is_left_alone(root: Root) -> None:
    assert root.source().remove(root.a) is None
    assert page(root.a) == "one"
