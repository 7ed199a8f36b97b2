from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError, UsageError
from substitute.demo import repository
from substitute.linux.subprocesses import capture
from substitute.sources.git.program import Limit
from substitute.sources.git.source import Git

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = {"PATH": os.environ["PATH"], **repository.IDENTITY, "GIT_CONFIG_SYSTEM": os.devnull}


class Repository(repository.Repository):
    """A developer's repository, which the slots clone."""

    def commit(self, content: str, file: str = "page") -> str:
        (self.directory / file).parent.mkdir(exist_ok=True)
        (self.directory / file).write_text(content)
        return self.commit_all(f"Say {content}")


class Place:
    """Two slots, a repository, and what was said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = Repository(root / "origin")
        self.first = self.repository.commit("one")
        self.a, self.b = root / "shop_a", root / "shop_b"
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def source(self, branch: str | None = None, repo: str | None = None, **environment: str) -> Git:
        return Git(
            repo or str(self.repository.directory),
            branch,
            [self.a, self.b],
            {**IDENTITY, **environment},
            self.notices.append,
            self.warnings.append,
        )

    def lose_the_remote(self) -> None:
        self.repository.directory.rename(self.root / "elsewhere")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def page(directory: Path) -> str:
    return (directory / "page").read_text()


def test_the_first_use_clones_and_the_newest_commit_is_chosen(place: Place) -> None:
    source = place.source()
    revision = source.resolve(place.a, None)
    assert (revision.commit, revision.subject) == (place.first, "Say one")
    assert revision.how == "branch main of origin, its HEAD"
    assert source.current(place.a) is None  # nothing is checked out yet
    source.update(place.a, revision.commit, clean=False)
    assert page(place.a) == "one"
    assert source.current(place.a) == place.first
    assert source.current(place.b) is None


def test_a_tag_that_leads_to_the_commit_is_known_however_it_was_chosen(place: Place) -> None:
    source = place.source()
    assert source.resolve(place.a, None).tag == ""
    place.repository.git("tag", "v1.9")
    place.repository.git("tag", "--annotate", "--message", "the release", "v1.10")
    for asked in (None, "main", place.first):
        assert source.resolve(place.a, asked).tag == "v1.10"
    assert source.resolve(place.a, "v1.9").tag == "v1.9"


def tree(directory: Path) -> dict[str, str]:
    """All that is in a slot but git's own."""
    found = [path for path in directory.rglob("*") if ".git" not in path.parts]
    return {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else "a directory"
        for path in found
    }


@pytest.mark.parametrize(
    ("built", "added", "returns"),
    [
        ("app/node_modules/left-pad", "app/new", True),
        ("app/node_modules/left-pad", "new/one", True),
        ("app/made", "app/made", False),
        ("app/ignored", "app/ignored", False),
        ("tmp/pids/", "tmp/pids/.keep", False),
        ("made", "made/more", False),
        ("made/more", "made", False),
        ("app/page", "new", False),
    ],
    ids=[
        *("beside", "elsewhere", "the same", "the same and ignored", "a directory that git would remove"),
        *("a file where a directory comes", "a directory where a file comes", "a tracked file that changed"),
    ],
)
def test_files_that_are_changed_and_changed_back_are_those_of_before_where_that_is_said(
    place: Place, built: str, added: str, *, returns: bool
) -> None:
    source = place.source()
    place.repository.commit("ignored", ".gitignore")
    first = place.repository.commit("one", "app/page")
    source.resolve(place.a, None)
    source.update(place.a, first, clean=False)
    made = place.a / built
    (made if built.endswith("/") else made.parent).mkdir(parents=True, exist_ok=True)
    if not built.endswith("/"):
        made.write_text("a build made it")
    before = tree(place.a)
    (place.repository.directory / "app/page").write_text("two")
    (place.repository.directory / added).parent.mkdir(parents=True, exist_ok=True)
    (place.repository.directory / added).write_text("a commit made it")
    place.repository.git("add", "--force", ".")
    place.repository.git("commit", "--quiet", "--message", "more")
    second = source.resolve(place.a, None).commit
    assert source.returns(place.a, second) == returns
    assert tree(place.a) == before
    if returns:
        source.update(place.a, second, clean=False)
        assert tree(place.a) != before
        source.go_back(place.a, first, left=second)
        assert tree(place.a) == before
        assert source.current(place.a) == first


def test_an_update_that_failed_in_its_middle_can_be_undone(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    source.update(place.a, place.first, clean=False)
    (place.a / "built").write_text("a build made it")
    before = tree(place.a)
    place.repository.commit("*.big filter=broken", ".gitattributes")
    place.repository.commit("new", "new/page")
    second = place.repository.commit("big", "zoo.big")
    source.resolve(place.a, None)
    for setting in ("smudge false", "required true"):
        subprocess.run(
            ["git", "-C", str(place.a), "config", *f"filter.broken.{setting}".split()],
            check=True,
            env=IDENTITY,
        )
    assert source.returns(place.a, second)
    with pytest.raises(SourceError, match="cannot be set to"):
        source.update(place.a, second, clean=False)
    assert tree(place.a) != before
    source.go_back(place.a, place.first, left=second)
    assert tree(place.a) == before
    assert source.current(place.a) == place.first


def test_where_there_is_no_clone_nothing_returns(place: Place) -> None:
    assert not place.source().returns(place.a, place.first)


def test_a_git_that_hangs_is_ended_past_its_limit_and_the_key_is_named(place: Place) -> None:
    limit = Limit(0.5, "app.shop.build_timeout")
    surroundings = {**IDENTITY, "GIT_SSH_COMMAND": "sleep 600 #"}
    source = Git("ssh://nowhere.example/shop.git", None, [place.a], surroundings, print, print, limit=limit)
    with pytest.raises(SourceError, match=r"did not end within 0\.5s.*\n.*app\.shop\.build_timeout"):
        source.resolve(place.a, None)
    assert not place.a.exists()


def test_a_commit_that_is_there_is_deployed_though_the_remote_hangs(place: Place) -> None:
    place.source().resolve(place.a, None)
    limit = Limit(1.5, "app.shop.build_timeout")
    surroundings = {**IDENTITY, "GIT_SSH_COMMAND": "sleep 600; false"}
    said = (place.notices.append, place.warnings.append)
    source = Git("ssh://nowhere.example/shop.git", None, [place.a], surroundings, *said, limit=limit)
    assert source.resolve(place.a, place.first, ours=True).commit == place.first
    assert "cannot be reached: `git fetch` did not end within 1.5s" in place.warnings[-1]
    with pytest.raises(SourceError, match="did not end within"):
        source.resolve(place.a, None, ours=True)
    assert not (place.root / "shop_a.broken").exists()


def test_a_resolve_changes_no_file_of_the_slot(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    second = place.repository.commit("two")
    assert source.resolve(place.a, None).commit == second
    assert page(place.a) == "one"
    assert source.current(place.a) == place.first


def test_the_second_slot_shares_the_objects_and_survives_the_first(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    second = place.repository.commit("two")
    assert source.resolve(place.b, None).commit == second
    linked = [
        file for file in (place.b / ".git/objects").rglob("*") if file.is_file() and file.stat().st_nlink > 1
    ]
    assert linked
    shutil.rmtree(place.a)
    source.update(place.b, second, clean=False)
    assert page(place.b) == "two"
    origin = capture(["git", "-C", str(place.b), "remote", "get-url", "origin"], environment=IDENTITY)
    assert origin.out.strip() == str(place.repository.directory)
    assert not list(place.root.glob(".*"))


def test_an_empty_directory_becomes_the_clone_and_keeps_its_mode(place: Place) -> None:
    place.a.mkdir(mode=0o750)
    place.source().resolve(place.a, None)
    assert place.a.stat().st_mode & 0o777 == 0o750


def test_a_new_slot_can_be_entered_by_others(place: Place) -> None:
    place.source().resolve(place.a, None)
    assert place.a.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def test_a_directory_with_something_else_in_it_is_refused_and_untouched(place: Place) -> None:
    place.a.mkdir()
    (place.a / "precious").write_text("x")
    with pytest.raises(UsageError, match="shop_a is not empty and is no git clone"):
        place.source().resolve(place.a, None)
    assert [file.name for file in place.a.iterdir()] == ["precious"]


def test_a_repository_around_the_slot_is_never_taken_for_the_slots_own(place: Place) -> None:
    outer = Repository(place.root / "outer")
    head = outer.commit("outer")
    slot = outer.directory / "slot"
    source = place.source()
    assert source.current(slot) is None
    source.update(slot, source.resolve(slot, None).commit, clean=True)
    assert page(slot) == "one"
    assert outer.git("rev-parse", "HEAD") == head
    assert page(outer.directory) == "outer"


def test_a_broken_clone_is_named_and_the_repository_around_it_untouched(place: Place) -> None:
    outer = Repository(place.root / "outer")
    head = outer.commit("outer")
    slot = outer.directory / "slot"
    (slot / ".git").mkdir(parents=True)
    with pytest.raises(SourceError, match="slot"):
        place.source().resolve(slot, "main")
    with pytest.raises(SourceError, match="slot"):
        place.source().update(slot, head, clean=True)
    assert outer.git("rev-parse", "HEAD") == head
    assert "origin" not in outer.git("remote")


def test_a_clone_that_is_already_there_is_taken_with_its_untracked_files(place: Place) -> None:
    place.repository.git("clone", "--quiet", "--", str(place.repository.directory), str(place.a))
    (place.a / "node_modules").mkdir()
    second = place.repository.commit("two")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert source.current(place.a) == second
    assert (place.a / "node_modules").is_dir()
    assert place.warnings == []


def test_a_clone_of_another_repository_is_pointed_at_the_configured_one_aloud(place: Place) -> None:
    other = Repository(place.root / "other")
    other.commit("other")
    other.git("clone", "--quiet", "--", str(other.directory), str(place.a))
    source = place.source()
    assert source.resolve(place.a, None).commit == place.first
    assert "other" in place.warnings[0]
    assert str(place.repository.directory) in place.notices[-1]
    place.warnings.clear()
    source.resolve(place.a, None)
    assert place.warnings == []


def test_commits_are_chosen_by_branch_tag_and_hash(place: Place) -> None:
    repository = place.repository
    repository.git("tag", "v1")
    repository.git("tag", "-a", "-m", "release", "v1-annotated")
    repository.git("tag", "-a", "-m", "of a tag", "v1-nested", "v1-annotated")
    repository.git("checkout", "--quiet", "-b", "feature/x")
    second = repository.commit("two")
    repository.git("checkout", "--quiet", "main")
    source = place.source()
    for name, commit, how in (
        ("feature/x", second, "branch feature/x of origin"),
        ("origin/feature/x", second, "branch feature/x of origin"),
        ("refs/heads/feature/x", second, "branch feature/x of origin"),
        ("v1", place.first, "tag v1"),
        ("refs/tags/v1", place.first, "tag v1"),
        ("v1-annotated", place.first, "tag v1-annotated"),
        ("v1-nested", place.first, "tag v1-nested"),
        (second, second, "commit"),
        (second[:8], second, "commit"),
        (second[:8].upper(), second, "commit"),
    ):
        revision = source.resolve(place.a, name)
        assert (revision.commit, revision.how) == (commit, how)
    assert revision.subject == "Say two"


def test_the_configured_branch_is_followed_and_a_rewritten_one_too(place: Place) -> None:
    place.repository.git("checkout", "--quiet", "-b", "release")
    source = place.source("release")
    place.repository.commit("two")
    source.resolve(place.a, None)
    place.repository.git("reset", "--quiet", "--hard", place.first)
    third = place.repository.commit("three")
    place.repository.git("checkout", "--quiet", "main")
    assert source.resolve(place.a, None).commit == third


def test_a_moved_tag_is_followed_and_a_deleted_branch_is_gone(place: Place) -> None:
    place.repository.git("tag", "latest")
    place.repository.git("branch", "old")
    source = place.source()
    assert source.resolve(place.a, "latest").commit == place.first
    second = place.repository.commit("two")
    place.repository.git("tag", "--force", "latest")
    place.repository.git("branch", "--delete", "old")
    assert source.resolve(place.a, "latest").commit == second
    with pytest.raises(UsageError):
        source.resolve(place.a, "old")


def test_a_change_of_the_remotes_default_branch_is_followed(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    place.repository.git("checkout", "--quiet", "-b", "trunk")
    second = place.repository.commit("two")
    revision = source.resolve(place.a, None)
    assert (revision.commit, revision.how) == (second, "branch trunk of origin, its HEAD")


def test_a_remote_head_that_names_no_branch_is_no_obstacle_where_there_is_one_branch(place: Place) -> None:
    place.repository.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    source = place.source()
    assert source.resolve(place.a, None).commit == place.first
    place.repository.git("branch", "other", place.first)
    with pytest.raises(UsageError, match=r"HEAD of .* names no branch") as caught:
        source.resolve(place.a, None)
    assert "main, other" in caught.value.fact


def test_an_empty_remote_says_so(place: Place) -> None:
    empty = Repository(place.root / "empty")
    with pytest.raises(SourceError, match="has no commit"):
        place.source(repo=str(empty.directory)).resolve(place.a, None)


@pytest.mark.parametrize(
    "commit",
    [
        "",
        "-",
        "--upload-pack=touch x",
        "-f",
        "a\0b",
        "a\nb",
        "a b",
        "a..b",
        "a...b",
        "main@{1}",
        "@",
        "main~1",
        "main^",
        "HEAD",
        "a:b",
        "*",
        "refs/notes/x",
        "/main",
        "main/",
        "x.lock",
        "\x1b[31m",
        "a\\b",
        "refs/../x",
    ],
)
def test_what_can_be_no_commit_is_refused_before_anything_changes(place: Place, commit: str) -> None:
    with pytest.raises(UsageError):
        place.source().resolve(place.a, commit)
    assert not place.a.exists()


def test_an_unknown_name_is_refused_with_the_nearest(place: Place) -> None:
    place.repository.git("branch", "feature/basket")
    with pytest.raises(UsageError) as caught:
        place.source().resolve(place.a, "feature/baskte")
    assert "feature/baskte" in caught.value.what
    assert str(place.repository.directory) in caught.value.what
    assert "feature/basket" in caught.value.fact
    with pytest.raises(UsageError, match="no branch 'mian'"):
        place.source("mian").resolve(place.a, None)


def test_a_name_of_both_a_branch_and_a_tag_is_ambiguous_and_can_be_told_apart(place: Place) -> None:
    place.repository.git("tag", "v1")
    second = place.repository.commit("two")
    place.repository.git("branch", "v1")
    source = place.source()
    with pytest.raises(UsageError, match="ambiguous") as caught:
        source.resolve(place.a, "v1")
    assert "branch v1" in caught.value.fact
    assert "tag v1" in caught.value.fact
    assert source.resolve(place.a, "refs/heads/v1").commit == second
    assert source.resolve(place.a, "refs/tags/v1").commit == place.first


def test_an_ambiguous_beginning_of_a_hash_is_refused_with_the_candidates(place: Place) -> None:
    stream = [
        f"commit refs/heads/many\ncommitter a <a@example.com> {number} +0000\ndata 1\nx\n"
        for number in range(2000)  # always the same; several of them share their first four digits
    ]
    made = capture(
        ["git", "fast-import", "--quiet"],
        directory=place.repository.directory,
        environment=IDENTITY,
        given="".join(stream),
    )
    assert made.status == 0, made.err
    seen: dict[str, str] = {}
    for commit in place.repository.git("rev-list", "many").splitlines():
        prefix = commit[:4]
        if prefix in seen:
            break
        seen[prefix] = commit
    with pytest.raises(UsageError, match="ambiguous") as caught:
        place.source().resolve(place.a, prefix)
    assert seen[prefix] in caught.value.fact


def test_a_branch_that_looks_like_a_hash_is_ambiguous_only_where_it_is_one(place: Place) -> None:
    place.repository.git("branch", "beef")
    source = place.source()
    if not place.first.startswith("beef"):
        assert source.resolve(place.a, "beef").how == "branch beef of origin"
    place.repository.commit("two")
    place.repository.git("branch", place.first[:7])
    with pytest.raises(UsageError, match="ambiguous"):
        source.resolve(place.a, place.first[:7])


def test_a_commit_that_no_branch_leads_to_is_fetched_by_its_full_hash(place: Place) -> None:
    source = place.source(repo=f"file://{place.repository.directory}")
    source.resolve(place.a, None)
    lost = place.repository.commit("lost")
    place.repository.git("reset", "--quiet", "--hard", place.first)
    place.repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    assert source.resolve(place.a, lost).commit == lost
    with pytest.raises(UsageError):
        source.resolve(place.a, "f" * 40)


def test_an_unreachable_remote_says_so_and_a_commit_that_is_there_is_still_deployed(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    place.lose_the_remote()
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        source.resolve(place.a, None)
    assert "substitute deploy COMMIT" in caught.value.cure
    assert "\n" not in caught.value.fact
    for commit in (place.first, place.first[:8], "main"):
        assert source.resolve(place.a, commit).commit == place.first
    assert "cannot be reached" in place.warnings[0]
    with pytest.raises(SourceError, match=r"'absent' is not in .*shop_a"):
        source.resolve(place.a, "absent")
    assert source.resolve(place.b, "main").commit == place.first  # from the other slot


def test_a_remote_that_cannot_be_cloned_leaves_nothing(place: Place) -> None:
    with pytest.raises(SourceError, match="cannot be cloned") as caught:
        place.source(repo=str(place.root / "absent")).resolve(place.a, None)
    assert "does not exist" in caught.value.fact
    assert sorted(file.name for file in place.root.iterdir()) == ["origin"]


def test_no_password_is_shown(place: Place) -> None:
    with pytest.raises(SourceError) as caught:
        place.source(repo="https://me:secret@127.0.0.1:1/x.git").resolve(place.a, None)
    assert "127.0.0.1:1/x.git" in str(caught.value)
    assert "secret" not in str(caught.value) + str(place.notices)


def test_without_fetching_a_commit_of_the_other_slot_is_taken_from_there(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    source.resolve(place.b, None)
    second = place.repository.commit("two")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    place.lose_the_remote()
    assert source.resolve(place.b, second, fetch=False).commit == second
    source.update(place.b, second, clean=False)
    assert page(place.b) == "two"


def test_an_update_undoes_every_change_to_tracked_files_and_leaves_untracked_ones(place: Place) -> None:
    place.repository.commit("a", "kept/file")
    place.repository.commit("*.log\nnode_modules\n", ".gitignore")
    source = place.source()
    commit = source.resolve(place.a, None).commit
    source.update(place.a, commit, clean=False)
    (place.a / "page").write_text("changed")
    (place.a / "kept/file").unlink()
    (place.a / "untracked").write_text("x")
    (place.a / "node_modules").mkdir()
    (place.a / "node_modules/x").write_text("x")
    source.update(place.a, commit, clean=False)
    assert page(place.a) == "one"
    assert (place.a / "kept/file").read_text() == "a"
    assert (place.a / "untracked").exists()
    assert (place.a / "node_modules/x").exists()
    source.update(place.a, commit, clean=True)
    assert sorted(file.name for file in place.a.iterdir()) == [".git", ".gitignore", "kept", "page"]


def test_untracked_files_and_directories_in_the_way_give_way(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    (place.a / "new").write_text("mine")
    (place.a / "dist/deep").mkdir(parents=True)
    (place.a / "dist/deep/file").write_text("mine")
    place.repository.commit("theirs", "new")
    second = place.repository.commit("theirs", "dist")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "new").read_text() == (place.a / "dist").read_text() == "theirs"
    assert source.current(place.a) == second


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/remotes/origin/main.lock", "config.lock"])
def test_a_lock_that_an_interrupted_git_left_is_removed_aloud(place: Place, lock: str) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    second = place.repository.commit("two")
    (place.a / ".git" / lock).touch()
    if lock == "config.lock":  # only a change of the origin writes it
        source = place.source(repo=f"file://{place.repository.directory}")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert source.current(place.a) == second
    assert any(lock in notice for notice in place.notices)


def test_a_git_that_is_still_at_work_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = place.source()
    source.resolve(place.a, None)
    lock = place.a / ".git/index.lock"
    lock.touch()
    busy = ["git", "-c", "alias.wait=!sleep 1; rm -f .git/index.lock", "wait"]
    with subprocess.Popen(busy, cwd=place.a, env=IDENTITY):
        source.update(place.a, place.first, clean=False)
    assert source.current(place.a) == place.first
    assert not any("Removed" in notice for notice in place.notices)
    monkeypatch.setattr("substitute.sources.git.program._PATIENCE", 0)
    lock.touch()
    with subprocess.Popen(["git", "hash-object", "--stdin"], cwd=place.a, stdin=subprocess.PIPE) as at_work:
        with pytest.raises(SourceError, match="Another git is at work"):
            source.update(place.a, place.first, clean=False)
        at_work.kill()


def test_an_unfinished_update_is_not_current_and_the_next_one_succeeds(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    with pytest.raises(SourceError):
        source.update(place.a, "f" * 40, clean=False)
    assert source.current(place.a) is None
    source.update(place.a, place.first, clean=False)
    assert source.current(place.a) == place.first


def test_an_interrupted_clone_blocks_nothing(place: Place) -> None:
    for left in (".shop_a.cloning-x1", ".shop_a.cloning-x2"):
        (place.root / left / "clone/.git").mkdir(parents=True)
    place.source().resolve(place.a, None)
    assert sorted(file.name for file in place.root.iterdir()) == ["origin", "shop_a"]


def test_submodules_come_and_follow(place: Place) -> None:
    library = Repository(place.root / "library")
    library.commit("old", "code")
    allowed = ("-c", "protocol.file.allow=always")
    place.repository.git(*allowed, "submodule", "add", "--quiet", "../library", "vendor")
    first = place.repository.commit("with vendor")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "old"
    library.commit("new", "code")
    vendored = capture(
        ["git", *allowed, "pull", "--quiet"],
        directory=place.repository.directory / "vendor",
        environment=IDENTITY,
    )
    assert vendored.status == 0
    place.repository.commit("with newer vendor")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "new"
    (place.a / "vendor/untracked").touch()
    (place.a / "vendor/code").write_text("changed")
    source.update(place.a, first, clean=True)
    assert (place.a / "vendor/code").read_text() == "old"
    assert not (place.a / "vendor/untracked").exists()


@pytest.mark.parametrize("lost", ["HEAD", "refs", "objects/pack", "config", "everything"])
def test_an_interrupted_clone_of_a_submodule_blocks_nothing(place: Place, lost: str) -> None:
    library = Repository(place.root / "library")
    library.commit("code", "code")
    place.repository.git(
        "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../library", "vendor"
    )
    place.repository.commit("with vendor")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    module = place.a / ".git/modules/vendor"
    for file in [file for file in module.rglob("*") if file.is_file()]:
        if lost == "everything" or file.relative_to(module).is_relative_to(lost):
            file.unlink()
    (module / "packed-refs").unlink(missing_ok=True)
    (module / "index").unlink(missing_ok=True)
    shutil.rmtree(place.a / "vendor")
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert (place.a / "vendor/code").read_text() == "code"


def test_a_git_hook_that_deploys_does_not_mislead(place: Place) -> None:
    decoy = Repository(place.root / "decoy")
    head = decoy.commit("decoy")
    foreign = {
        "GIT_DIR": str(decoy.directory / ".git"),
        "GIT_WORK_TREE": str(decoy.directory),
        "GIT_INDEX_FILE": str(decoy.directory / ".git/index"),
        "GIT_QUARANTINE_PATH": str(place.root),
    }
    source = place.source(**foreign)
    source.update(place.a, source.resolve(place.a, None).commit, clean=True)
    assert page(place.a) == "one"
    assert decoy.git("rev-parse", "HEAD") == head
    assert page(decoy.directory) == "decoy"


def test_hooks_that_a_build_configured_in_the_clone_do_not_run(place: Place) -> None:
    place.repository.commit("x", "hooks/readme")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    hook = place.a / "hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {place.root}/ran\n")
    hook.chmod(0o755)
    capture(["git", "config", "core.hooksPath", "hooks"], directory=place.a, environment=IDENTITY)
    source.update(place.a, place.first, clean=False)
    assert page(place.a) == "one"
    assert not (place.root / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_clones_and_repositories_of_another_user_are_used(place: Place) -> None:
    source = place.source()
    source.resolve(place.a, None)
    for directory in (place.a, place.repository.directory):
        for parent, folders, files in os.walk(directory):
            for name in (*folders, *files, "."):
                os.chown(Path(parent) / name, 65534, 65534)
    second = place.repository.git("-c", "safe.directory=*", "rev-parse", "HEAD") or ""
    assert source.resolve(place.a, None).commit == second
    source.update(place.a, second, clean=True)
    assert source.resolve(place.b, None).commit == second


def test_a_missing_git_says_how_to_get_it(place: Place) -> None:
    with pytest.raises(SourceError, match="git is not installed") as caught:
        place.source(PATH="/nonexistent").resolve(place.a, None)
    assert "apt install git" in caught.value.cure


def test_a_relative_repository_is_the_same_wherever_it_is_used_from(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    source = place.source(repo="origin")
    monkeypatch.chdir("/")
    assert source.resolve(place.a, None).commit == place.first
    assert source.resolve(place.a, None).commit == place.first
    assert place.warnings == []


def test_an_unusable_directory_is_named(place: Place) -> None:
    (place.root / "file").write_text("x")
    with pytest.raises(SourceError, match="file/shop_a cannot be used"):
        place.source().resolve(place.root / "file/shop_a", None)


def _no_git(slot: Path) -> None:
    shutil.rmtree(slot / ".git")


def _no_head(slot: Path) -> None:
    (slot / ".git" / "HEAD").unlink()


def _no_objects(slot: Path) -> None:
    shutil.rmtree(slot / ".git" / "objects")
    (slot / ".git" / "objects").mkdir()
    (slot / ".git" / "substitute-update").touch()  # the update that stumbled over it


@pytest.mark.parametrize("spoil", [_no_git, _no_head, _no_objects])
def test_a_broken_clone_of_ours_is_set_aside_aloud_and_made_afresh(
    place: Place, spoil: Callable[[Path], None]
) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    (place.a / "upload").write_text("precious")
    spoil(place.a)
    second = place.repository.commit("two")
    assert source.resolve(place.a, None, ours=True).commit == second
    source.update(place.a, second, clean=False)
    assert page(place.a) == "two"
    assert (place.root / "shop_a.broken" / "upload").read_text() == "precious"
    assert "was broken" in place.warnings[0]


def test_a_remote_that_does_not_answer_breaks_no_clone_of_ours(place: Place) -> None:
    place.source().resolve(place.a, None)
    place.lose_the_remote()
    with pytest.raises(SourceError, match="cannot be reached"):
        place.source().resolve(place.a, None, ours=True)
    assert not (place.root / "shop_a.broken").exists()


def test_an_emptied_remote_is_no_fault_of_the_clone(place: Place) -> None:
    source = place.source()
    source.update(place.a, source.resolve(place.a, None, ours=True).commit, clean=False)
    place.lose_the_remote()
    Repository(place.repository.directory)
    with pytest.raises(SourceError, match="has no commit") as caught:
        source.resolve(place.a, None, ours=True)
    assert "substitute deploy COMMIT" in caught.value.cure
    assert source.resolve(place.a, place.first, ours=True).commit == place.first
    assert source.current(place.a) == place.first
    shutil.rmtree(place.repository.directory)
    with pytest.raises(SourceError, match="cannot be reached"):
        source.resolve(place.a, None, ours=True)
    assert not place.warnings


@pytest.mark.parametrize("name", ["refs/heads/x", "objects/info/alternates", "info/attributes", "HEAD"])
def test_a_fifo_in_a_clone_makes_nobody_wait(place: Place, name: str) -> None:
    source = place.source()
    source.resolve(place.a, None)
    trap = place.a / ".git" / name
    trap.parent.mkdir(exist_ok=True)
    trap.unlink(missing_ok=True)
    os.mkfifo(trap)
    assert source.resolve(place.b, None).commit == place.first  # not from there
    with pytest.raises(SourceError, match=f"{name} is a FIFO"):  # somebody's own clone is left to him
        source.resolve(place.a, None)
    assert source.resolve(place.a, None, ours=True).commit == place.first
    assert f"{name} is a FIFO" in place.warnings[0]
