"""Brings a commit into a slot with the user's own git."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.core.ports.source import Revision
from substitute.io.files import read_regular
from substitute.linux.users import account
from substitute.sources.git import names
from substitute.sources.git.clone import Clones
from substitute.sources.git.program import GitProgram, Limit, TooLongError
from substitute.sources.git.remotes import Trouble, is_local, shown
from substitute.sources.git.submodules import update_submodules
from substitute.sources.git.view import make_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from substitute.core.model.apps import App
    from substitute.linux.users import Account
    from substitute.sources.git.names import Wanted

_BRANCHES = "refs/remotes/origin"
_HEAD = "refs/substitute/head"
"""Where the commit of the remote's HEAD is kept: with it one connection fetches everything."""
_HALF = "substitute-update"
"""In the clone's own directory while its files change."""
_FORMAT = "%00".join(
    f"%({field})"
    for field in ("refname", "objecttype", "objectname", "subject", "*objecttype", "*objectname", "*subject")
)
# From another slot's clone, a commit that no reference holds.
_ANY_COMMIT = "--upload-pack=git -c safe.directory='*' -c uploadpack.allowAnySHA1InWant=true upload-pack"


_STILL_THERE = "A commit that is already there can be deployed: `substitute deploy COMMIT`."


class _EmptyRemoteError(SourceError):
    """The remote has nothing to deploy."""


def connect(
    app: App,
    environment: Mapping[str, str],
    notice: Callable[[str], None],
    warn: Callable[[str], None],
) -> Git:
    """Make the source of `app`; git gets `environment`."""
    directories = [slot.directory for slot in app.slots.values()]
    limit = Limit(app.build_timeout, f"app.{app.name}.build_timeout")
    become = account(app.user)
    return Git(app.repo, app.branch, directories, environment, notice, warn, become=become, limit=limit)


class Git:
    """Commits of one repository (see `core.ports.source.Source`)."""

    def __init__(  # noqa: PLR0917  # each is of another type
        self,
        repo: str,
        branch: str | None,
        directories: Sequence[Path],
        environment: Mapping[str, str],
        notice: Callable[[str], None],
        warn: Callable[[str], None],
        *,
        become: Account | None = None,
        limit: Limit | None = None,
    ) -> None:
        """`directories`: of all slots, so that one can be made from another. They are the property of `become`.

        `notice` and `warn` take what the user should read.
        """
        local = is_local(repo)
        path = local and not repo.startswith("file://")
        self._repo = str(Path(repo).expanduser().absolute()) if path else repo
        self._shown = shown(self._repo)
        self._branch = branch
        self._warn = warn
        self._git = GitProgram(environment, notice, local=local, become=become, limit=limit)
        others = [Path(os.path.realpath(directory)) for directory in directories]
        self._clones = Clones(self._git, self._repo, others, notice=notice, warn=warn)

    def resolve(
        self, directory: Path, commit: str | None, *, fetch: bool = True, ours: bool = False
    ) -> Revision:
        """Choose the commit (see `core.ports.source.Source.resolve`)."""
        directory = Path(os.path.realpath(directory))
        self._require_owner(directory)
        clones = self._clones
        if ours and (
            self._is_half_updated(directory) or not clones.is_clone(directory) or clones.trap(directory)
        ):
            clones.replace_broken(directory)
        try:
            return self._resolve(directory, commit, fetch=fetch)
        except (TooLongError, _EmptyRemoteError):  # neither says anything of the clone
            raise
        except SourceError:
            if ours and self._clones.replace_broken(directory):
                return self._resolve(directory, commit, fetch=fetch)
            raise

    def _resolve(self, directory: Path, commit: str | None, *, fetch: bool) -> Revision:
        found = self._chosen(directory, commit, fetch=fetch)
        return replace(found, tag=self._tag_of(directory, found))

    def _tag_of(self, directory: Path, revision: Revision) -> str:
        """A tag that leads to it: the one that was asked for, else of several the highest version."""
        if revision.how.startswith("tag "):
            return revision.how.removeprefix("tag ")
        listed = ("--sort=-version:refname", "--count=1", "--format=%(refname:lstrip=2)")
        pointing = f"--points-at={revision.commit}"
        return self._git.run(directory, "for-each-ref", *listed, pointing, "refs/tags").out.strip()

    def _chosen(self, directory: Path, commit: str | None, *, fetch: bool) -> Revision:
        wanted: Wanted | None = None
        if commit is not None:
            wanted = names.parse(commit)
        elif self._branch:
            wanted = names.parse_branch(self._branch)
        with _explained(directory):
            self._clones.ensure(directory)
            try:
                silent = self._fetch(directory, head=wanted is None) if fetch else None
            except TooLongError as error:
                if commit is None:
                    raise
                silent = Trouble(error.what)  # what is there already can still be deployed
            if silent and commit is None:
                raise self._unreachable("The newest commit is not known", silent)
            revision = self._find(directory, wanted) if wanted else self._newest(directory)
            if wanted and revision is None:
                revision = self._last_resort(directory, wanted, silent, fetch=fetch)
        assert revision is not None  # noqa: S101  # it was found, or something was raised
        if silent:
            self._warn(
                f"{self._shown} cannot be reached: {silent.fact} "
                f"{commit} is taken as it was last seen, {revision.commit[:10]}."
            )
        return revision

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit` (see `core.ports.source.Source.update`)."""
        directory = Path(os.path.realpath(directory))
        checkout = ("checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", commit)
        with _explained(directory):
            with self._git.theirs():
                own = _git_directory(directory)
                (own / _HALF).touch()
            self._git.demand(directory, *checkout, failing=f"{directory} cannot be set to {commit[:10]}.")
            if clean:
                self._git.demand(directory, "clean", "-ffdxq", failing=f"{directory} cannot be cleaned.")
            with self._git.theirs():
                has_submodules = (directory / ".gitmodules").is_file()
            if has_submodules:
                update_submodules(self._git, directory, own, clean=clean)
            with self._git.theirs():
                (own / _HALF).unlink(missing_ok=True)

    def returns(self, directory: Path, commit: str) -> bool:
        """Whether an update to `commit` and back leaves all as it is (see `core.ports.source.Source.returns`)."""
        directory = Path(os.path.realpath(directory))
        try:
            with _explained(directory):
                return self._returns(directory, commit)
        except SourceError:
            return False

    def _returns(self, directory: Path, commit: str) -> bool:
        """No tracked file differs from the commit, and what `commit` adds lies nowhere where something is already."""
        status = (
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=none",
            "-z",
        )
        if self._git.demand(directory, *status, failing=f"What changed in {directory} can't be read."):
            return False
        if self._names(directory, "diff-tree", "-r", "--diff-filter=T", "HEAD", commit):
            return False
        first = self._firsts(directory, "HEAD", commit)
        with self._git.theirs():
            modules = (directory / ".gitmodules").exists()
            return not (modules or any(os.path.lexists(directory / one) for one in first))

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update to `left`; one that did not come to its end has left files that git does not know."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            first = self._firsts(directory, commit, left)
            with self._git.theirs():
                for one in first:
                    path = directory / one
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)
        self.update(directory, commit, clean=False)

    def _firsts(self, directory: Path, commit: str, other: str) -> set[str]:
        """What `other` adds to `commit`, each by the first part of its path that is no directory of `commit`."""
        added = self._names(directory, "diff-tree", "-r", "--diff-filter=A", commit, other)
        known = set(self._names(directory, "ls-tree", "-r", "-d", commit)) if added else set()
        found = set()
        for name in added:
            parts = name.split("/")
            paths = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            found.add(next((path for path in paths if path not in known), name))
        return found

    def _names(self, directory: Path, command: str, *arguments: str) -> list[str]:
        options = ("--name-only", "-z") if command == "ls-tree" else ("--name-only", "--no-renames", "-z")
        failing = f"What changes in {directory} can't be read."
        return self._git.demand(directory, command, *options, *arguments, failing=failing).split("\0")[:-1]

    def current(self, directory: Path) -> str | None:
        """The commit that the slot's files are at; None where there is no clone, or an unfinished one."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            if not self._clones.is_clone(directory):
                return None
            with self._git.theirs():
                own = _git_directory(directory)
                if (own / _HALF).exists() or not (own / "index").exists():
                    return None
                with suppress(OSError):
                    head = read_regular(own / "HEAD").decode("ascii", errors="replace").strip()
                    if len(head) in {40, 64} and not head.startswith("ref:"):
                        return head
        return self._git.run(directory, "rev-parse", "--verify", "--quiet", "HEAD").out.strip() or None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """By the tree of HEAD. Whether a file is there is seen as the slot's user."""
        try:
            with self._git.theirs():
                there = [name for name in names if os.path.lexists(directory / name) and name[:1] != "-"]
            directory = Path(os.path.realpath(directory))
            known = self._names(directory, "ls-tree", "HEAD", *there) if there else []
        except (OSError, SourceError):
            return []
        return [name for name in there if name not in known]

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        """A repository of the deployer's own with the clone's objects (see `core.ports.source.Source.view`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(place):
            return make_view(self._git, directory, place) if self._clones.is_clone(directory) else {}

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

    def _newest(self, directory: Path) -> Revision:
        """The remote's HEAD."""
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
            raise _EmptyRemoteError(
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

    def _require_owner(self, directory: Path) -> None:
        """It must be the user's that git runs as: what root has built there, that user could not change."""
        become = self._git.become
        if become and directory.exists() and directory.stat().st_uid != become.uid:
            raise UsageError(
                f"{directory} does not belong to {become.name}, the user of the app.",
                cure=f"Move it away, and a new clone is made; or: chown -R {become.name}: {directory}",
            )

    def _is_half_updated(self, directory: Path) -> bool:
        with suppress(OSError), self._git.theirs():
            return (_git_directory(directory) / _HALF).exists()
        return True

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


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise SourceError(f"{directory} cannot be used.", fact=f"{place}: {error.strerror}.") from error


def _git_directory(directory: Path) -> Path:
    own = directory / ".git"
    if own.is_file():  # a worktree, or a submodule
        target = os.fsdecode(read_regular(own)).removeprefix("gitdir:").strip()
        return directory / target
    return own
