"""Which commit is meant: what the remote has, and what a slot's clone knows of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.core.ports.source import Revision
from substitute.io.files import read_regular
from substitute.sources.git import names
from substitute.sources.git.checkout import git_directory
from substitute.sources.git.program import TooLongError
from substitute.sources.git.remotes import EmptyRemoteError, Trouble, shown
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.sources.git.clone import Clones
    from substitute.sources.git.names import Wanted
    from substitute.sources.git.program import GitProgram

_BRANCHES = "refs/remotes/origin"
_HEAD = "refs/substitute/head"
"""Where the commit of the remote's HEAD is kept: with it one connection fetches everything."""
_FORMAT = "%00".join(
    f"%({field})"
    for field in ("refname", "objecttype", "objectname", "subject", "*objecttype", "*objectname", "*subject")
)
# From another slot's clone, a commit that no reference holds.
_ANY_COMMIT = "--upload-pack=git -c safe.directory='*' -c uploadpack.allowAnySHA1InWant=true upload-pack"
_STILL_THERE = "A commit that is already there can be deployed: `substitute deploy COMMIT`."


class Commits:
    """The commits of one repository, looked for in the clone of a slot."""

    def __init__(
        self,
        git: GitProgram,
        repo: str,
        branch: str | None,
        clones: Clones,
        warn: Callable[[str], None],
    ) -> None:
        self._git = git
        self._repo = repo
        self._shown = shown(repo)
        self._branch = branch
        self._clones = clones
        self._warn = warn

    def choose(self, directory: Path, commit: str | None, *, fetch: bool) -> Revision:
        """Choose the commit (see `core.ports.source.Source.resolve`); the clone is made where there is none."""
        wanted: Wanted | None = None
        if commit is not None:
            wanted = names.parse(commit)
        elif self._branch:
            wanted = names.parse_branch(self._branch)
        self._clones.ensure(directory)
        silent = self._try_to_fetch(directory, commit, head=wanted is None) if fetch else None
        revision = self._find(directory, wanted) if wanted else self._newest(directory)
        if wanted and revision is None:
            revision = self._last_resort(directory, wanted, silent, fetch=fetch)
        assert revision is not None  # noqa: S101  # it was found, or something was raised
        if silent:
            self._warn(
                f"{self._shown} cannot be reached: {silent.fact} "
                f"{commit} is taken as it was last seen, {revision.commit[:10]}."
            )
        return replace(revision, tag=self._tag_of(directory, revision))

    def _try_to_fetch(self, directory: Path, commit: str | None, *, head: bool) -> Trouble | None:
        """Get what is new. Why that was not possible, where `commit` may be there already; else that is raised."""
        try:
            silent = self._fetch(directory, head=head)
        except TooLongError as error:
            if commit is None:
                raise
            return Trouble(error.what)  # what is there already can still be deployed
        if silent and commit is None:
            raise self._unreachable("The newest commit is not known", silent)
        return silent

    def _fetch(self, directory: Path, *, head: bool) -> Trouble | None:
        """Get what is new, in one connection; the reason where the remote does not answer."""
        fetch = ("fetch", "--quiet", "--prune", "--tags", "--force", "--no-recurse-submodules")
        fetch = (*fetch, *self._git.serving, "origin")
        branches = f"+refs/heads/*:{_BRANCHES}/*"
        refs = (branches, f"+HEAD:{_HEAD}") if head else (branches,)
        ended = self._git.run(directory, *fetch, *refs, remote=True)
        if head and "couldn't find remote ref HEAD" in ended.err:  # it names a branch that does not exist
            self._git.run(directory, "update-ref", "-d", _HEAD)
            ended = self._git.run(directory, *fetch, branches, remote=True)
        return self._git.remote(self._repo).trouble(ended) if ended.status else None

    def _tag_of(self, directory: Path, revision: Revision) -> str:
        """A tag that leads to it: the one that was asked for, else of several the highest version."""
        if revision.how.startswith("tag "):
            return revision.how.removeprefix("tag ")
        if not _has_tags(git_directory(directory), self._git):
            return ""
        listed = ("--sort=-version:refname", "--count=1", "--format=%(refname:lstrip=2)")
        pointing = f"--points-at={revision.commit}"
        return self._git.run(directory, "for-each-ref", *listed, pointing, "refs/tags").out.strip()

    def _newest(self, directory: Path) -> Revision:
        """The commit of the remote's HEAD."""
        found = self._peeled(directory, _HEAD, _BRANCHES)
        head = found.pop(_HEAD, None) or found.get(f"{_BRANCHES}/HEAD")
        found.pop(f"{_BRANCHES}/HEAD", None)
        if head is None and len(found) == 1:
            (head,) = found.values()
        if head is not None:
            same = [names.short(name) for name, one in found.items() if one[0] == head[0]]
            usual = [name for name in ("main", "master") if name in same] or same
            # Several branches may be there; which of them HEAD names makes no difference.
            how = f"branch {usual[0]} of origin, its HEAD" if usual else "HEAD of origin"
            return Revision(*head, how)
        if not found:
            raise EmptyRemoteError(
                f"{self._shown} has no commit.",
                fact="It has no branch at all.",
                cure=f"Push one, and deploy again. {_STILL_THERE}",
            )
        raise UsageError(
            f"The HEAD of {self._shown} names no branch that exists.",
            fact="It has: " + ", ".join(sorted(map(names.short, found))) + ".",
            cure="Set `branch` of the app in substitute.toml.",
        )

    def _find(self, directory: Path, wanted: Wanted) -> Revision | None:
        if wanted.whole_hash and (found := self._by_hash(directory, wanted)):
            return found
        refs = {wanted.branch: "branch {} of origin", wanted.tag: "tag {}"}
        there = self._peeled(directory, *(name for name in refs if name))
        revisions = [
            Revision(*there[name], how.format(names.short(name)))
            for name, how in refs.items()
            if name and name in there
        ]
        if len(revisions) > 1:
            cure = f"Say `refs/heads/{wanted.text}` or `refs/tags/{wanted.text}`."
            raise names.ambiguous(wanted, (one.how for one in revisions), cure=cure)
        if wanted.digits and not wanted.whole_hash and (found := self._by_hash(directory, wanted)):
            if revisions:
                cure = "Write more of the hash, or the reference with refs/heads/ or refs/tags/."
                raise names.ambiguous(wanted, (revisions[0].how, f"commit {found.commit}"), cure=cure)
            return found
        return revisions[0] if revisions else None

    def _by_hash(self, directory: Path, wanted: Wanted) -> Revision | None:
        """A commit of this clone, else of another slot's."""
        if found := self._in_clone(directory, wanted):
            return found
        for sibling in self._clones.siblings(directory):
            found = self._in_clone(sibling, wanted)
            if found:
                arguments = ("fetch", "--quiet", "--no-tags", _ANY_COMMIT, str(sibling))
                self._git.demand(
                    directory, *arguments, found.commit, failing=f"{found.commit[:10]} is only in {sibling}."
                )
                return found
        return None

    def _in_clone(self, directory: Path, wanted: Wanted) -> Revision | None:
        digits = wanted.digits or ""
        if not wanted.whole_hash:
            listed = self._git.run(directory, "rev-parse", f"--disambiguate={digits}").out
            kinds = self._git.run(
                directory, "cat-file", "--batch-check=%(objectname) %(objecttype)", given=listed
            ).out
            commits = [line.split()[0] for line in kinds.splitlines() if line.endswith(" commit")]
            if len(commits) > 1:
                raise names.ambiguous(wanted, commits, cure="Write more of the hash.")
            if not commits:
                return None
            digits = commits[0]
        found = self._read(directory, digits)
        return Revision(*found, "commit") if found else None

    def _read(self, directory: Path, name: str) -> tuple[str, str] | None:
        """Hash and subject of the commit that `name` leads to."""
        log = ("log", "--no-walk", "--no-show-signature", "--format=%H%x00%s", f"{name}^{{commit}}", "--")
        ended = self._git.run(directory, *log)
        commit, _, subject = ended.out.strip().partition("\0")
        return (commit, subject) if commit and not ended.status else None

    def _last_resort(
        self, directory: Path, wanted: Wanted, silent: Trouble | None, *, fetch: bool
    ) -> Revision:
        if silent:
            raise self._unreachable(f"{wanted.text!r} is not in {directory}", silent)
        if fetch and wanted.whole_hash and wanted.digits:
            # No branch or tag of the remote leads to it. Not every server gives such a commit.
            self._git.run(directory, "fetch", "--quiet", "--no-tags", "origin", wanted.digits, remote=True)
            if found := self._read(directory, wanted.digits):
                return Revision(*found, "commit")
        raise names.missing(wanted, self._shown, self._references(directory))

    def _peeled(self, directory: Path, *references: str) -> dict[str, tuple[str, str]]:
        """Hash and subject of each reference that leads to a commit; of all below, where one is a folder."""
        failing = f"The clone in {directory} cannot be read."
        arguments = ("for-each-ref", f"--format={_FORMAT}", *references)
        found = {}
        for line in self._git.demand(directory, *arguments, failing=failing).splitlines():
            name, kind, commit, subject, inner_kind, inner, inner_subject = line.split("\0")
            if kind == "commit":
                found[name] = (commit, subject)
            elif inner_kind == "commit":
                found[name] = (inner, inner_subject)
            elif inner_kind == "tag" and (peeled := self._read(directory, name)):
                found[name] = peeled
        return found

    def _references(self, directory: Path) -> list[str]:
        return self._git.run(
            directory, "for-each-ref", "--format=%(refname)", _BRANCHES, "refs/tags"
        ).out.splitlines()

    def _unreachable(self, what: str, silent: Trouble) -> SourceError:
        return SourceError(
            f"{what}: {self._shown} cannot be reached.",
            fact=silent.fact,
            cure=f"{silent.cure} {_STILL_THERE}".strip(),
        )


def _has_tags(own: Path, git: GitProgram) -> bool:
    """Whether there may be any, in the clone's own directory: looking is quicker than asking git."""
    with git.theirs(), suppress(OSError):
        if (own / "reftable").exists() or any((own / "refs" / "tags").iterdir()):
            return True
        packed = own / "packed-refs"
        return packed.exists() and b" refs/tags/" in read_regular(packed, limit=1 << 26)
    return True
