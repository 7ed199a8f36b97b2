"""Commits that keep large files in Git LFS, with the real git-lfs."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError
from substitute.sources.git.source import Git
from tests.contracts.repositories import IDENTITY, Place

if TYPE_CHECKING:
    from pathlib import Path

BIG = b"\x00\x01large" * 5_000


class LargePlace(Place):
    """A repository whose ``*.bin`` are in Git LFS; nobody here has typed `git lfs install`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.git_lfs("install", "--local")
        self.git_lfs("track", "*.bin")
        self.without = self.repository.commit("without")
        self.path = root / "bin"
        """A PATH without git-lfs."""
        self.path.mkdir()
        for program in ("git", "sh", "basename", "sed"):
            found = subprocess.run(["which", program], capture_output=True, text=True, check=True)
            (self.path / program).symlink_to(found.stdout.strip())

    def git_lfs(self, *arguments: str) -> None:
        command = ["git", "-C", str(self.repository.directory), "lfs", *arguments]
        subprocess.run(command, env=IDENTITY, check=True, capture_output=True)

    def large(self, content: bytes, name: str = "model.bin") -> str:
        (self.repository.directory / name).write_bytes(content)
        return self.repository.commit_all(f"Change {name}")

    def source(self, branch: str | None = None, repo: str | None = None, **environment: str) -> Git:
        told = (self.notices.append, self.warnings.append)
        repo, given = repo or str(self.repository.directory), {**IDENTITY, **environment}
        return Git(repo, branch, lambda: [*self.root.glob("shop_*")], given, *told)

    def bring(self, directory: Path, commit: str, **environment: str) -> bytes:
        """Update to it as a deployment does: what the slot holds then."""
        self.source(**environment).resolve(directory, commit)
        self.source(**environment).update(directory, commit, clean=False)
        return (directory / "model.bin").read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> LargePlace:
    """Two versions of a large file."""
    return LargePlace(tmp_path_factory.mktemp("lfs"))


def test_large_files_are_fetched_before_the_slot_changes_and_are_there_after_it(place: LargePlace) -> None:
    first, second, third = (place.large(BIG + more) for more in (b"", b"2", b"3"))
    assert place.bring(place.a, first) == BIG
    store = place.repository.directory / ".git" / "lfs"
    place.source().resolve(place.a, second)
    assert (place.a / "model.bin").read_bytes() == BIG
    store.rename(store.with_name("gone"))
    try:
        place.source().update(place.a, second, clean=False)
        assert (place.a / "model.bin").read_bytes() == BIG + b"2"
        # And into another place, from this one.
        assert place.bring(place.root / "shop_7", second) == BIG + b"2"
        with pytest.raises(SourceError, match=f"{third[:10]} keeps in Git LFS cannot be fetched"):
            place.source().resolve(place.a, third)
        assert (place.a / "model.bin").read_bytes() == BIG + b"2"
    finally:
        shutil.rmtree(store, ignore_errors=True)  # git-lfs makes it anew
        store.with_name("gone").rename(store)


def test_without_git_lfs_pointers_are_not_deployed_and_the_cure_is_told(place: LargePlace) -> None:
    place.large(BIG, "a.bin")
    place.large(BIG, "b.bin")
    commit = place.large(BIG)
    place.source().update(place.b, place.without, clean=False)
    source = place.source(PATH=str(place.path))
    with pytest.raises(SourceError) as refused:
        source.resolve(place.b, commit)
    assert "git-lfs is not installed" in refused.value.what
    assert "a.bin, b.bin and 1 more" in refused.value.fact
    assert "apt install git-lfs" in refused.value.cure
    assert place.source().current(place.b) == place.without
    assert source.resolve(place.b, place.without).commit == place.without  # it has no such file


def test_pointers_that_somebody_wants_are_left_and_replaced_when_he_does_not(place: LargePlace) -> None:
    commit = place.large(BIG + b"4")
    assert place.bring(place.b, commit, GIT_LFS_SKIP_SMUDGE="1").startswith(b"version https://git-lfs")
    assert place.bring(place.b, commit) == BIG + b"4"


def test_large_files_of_submodules_are_there_too_and_without_git_lfs_they_are_refused(
    tmp_path: Path,
) -> None:
    for name in ("app", "library"):
        (tmp_path / name).mkdir()
    place, library = LargePlace(tmp_path / "app"), LargePlace(tmp_path / "library")
    library.large(BIG)
    allowed = ("-c", "protocol.file.allow=always")
    place.repository.git(*allowed, "submodule", "add", "--quiet", str(library.repository.directory), "vendor")
    commit = place.repository.commit("with vendor")
    large = place.b / "vendor" / "model.bin"
    place.source().resolve(place.b, commit)
    with pytest.raises(SourceError, match="git-lfs is not installed") as refused:
        place.source(PATH=str(place.path)).update(place.b, commit, clean=False)
    assert "vendor/model.bin" in refused.value.fact
    place.source(PATH=str(place.path), GIT_LFS_SKIP_SMUDGE="1").update(place.b, commit, clean=False)
    assert large.read_bytes().startswith(b"version https://git-lfs")
    place.source().update(place.b, commit, clean=False)
    assert large.read_bytes() == BIG
    store = library.repository.directory / ".git" / "lfs"
    store.rename(store.with_name("gone"))
    with pytest.raises(SourceError, match=f"{commit[:10]} keeps in Git LFS cannot be fetched"):
        place.bring(place.a, commit)
