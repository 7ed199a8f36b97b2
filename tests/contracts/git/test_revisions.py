"""Which commit is meant, and where it is found."""

from __future__ import annotations

import pytest

from substitute.core.model.errors import SourceError, UsageError
from substitute.linux.subprocesses import capture
from tests.contracts.repositories import IDENTITY, Place, Repository, page


def test_a_tag_that_leads_to_the_commit_is_known_however_it_was_chosen(place: Place) -> None:
    source = place.source()
    assert source.resolve(place.a, None).tag == ""
    place.repository.git("tag", "v1.9")
    place.repository.git("tag", "--annotate", "--message", "the release", "v1.10")
    for asked in (None, "main", place.first):
        assert source.resolve(place.a, asked).tag == "v1.10"
    assert source.resolve(place.a, "v1.9").tag == "v1.9"


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


def test_a_relative_repository_is_the_same_wherever_it_is_used_from(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    source = place.source(repo="origin")
    monkeypatch.chdir("/")
    assert source.resolve(place.a, None).commit == place.first
    assert source.resolve(place.a, None).commit == place.first
    assert place.warnings == []


def test_what_commits_hold_and_what_differs_between_two(place: Place) -> None:
    module = Repository(place.root / "module")
    module.commit("its own", "inside")
    place.repository.git(
        "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(module.directory), "sub"
    )
    (place.repository.directory / "link").symlink_to("apps")
    second = place.repository.commit("two", "apps/web/page")
    source = place.source()
    source.resolve(place.a, second)
    assert sorted(source.changed(place.a, place.first, second) or ()) == [
        *(".gitmodules", "apps/web/page", "link", "sub"),
    ]
    assert source.changed(place.a, second, second) == []
    assert source.changed(place.a, "0" * 40, second) is None
    asked = [
        "apps",
        "apps/web",
        "apps/web/page",
        "apps/wb",
        "page/x",
        "sub",
        "sub/inside",
        "link/web",
        "no",
        "",
    ]
    assert source.absent(place.a, second, asked) == ["apps/wb", "page/x", "no"]
    assert source.absent(place.a, place.first, ["apps/web", "page"]) == ["apps/web"]
    assert source.absent(place.b, second, ["no"]) == []  # there is no clone to ask
