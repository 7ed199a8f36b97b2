"""Brings a commit into a slot with the user's own git."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.linux.users import account
from substitute.sources.git import written
from substitute.sources.git.checkout import Checkout, git_directory
from substitute.sources.git.clone import Clones
from substitute.sources.git.program import GitProgram, Limit, TooLongError
from substitute.sources.git.remotes import EmptyRemoteError, is_local
from substitute.sources.places import Places
from substitute.sources.workplace import require_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from substitute.core.model.apps import App
    from substitute.core.ports.engine import Engine
    from substitute.core.ports.source import Revision
    from substitute.linux.users import Account
    from substitute.sources.git.commits import Commits
    from substitute.sources.git.lfs import LargeFiles


def connect(
    app: App,
    environment: Mapping[str, str],
    notice: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    places: Callable[[], Sequence[Path]],
    engine: Callable[[], Engine | None],  # noqa: ARG001
) -> Git:
    """Make the source of `app`; git gets `environment`, and `places` are where versions of it are."""
    limit = Limit(app.build.timeout, f"app.{app.name}.build_timeout")
    become = account(app.user)
    state = app.state_directory / "releases"
    return Git(
        app.repo, app.branch, places, environment, notice, warn, become=become, limit=limit, state=state
    )


class Git(Places):
    """Commits of one repository (see `core.ports.source.Source`)."""

    def __init__(  # noqa: PLR0917  # each is of another type
        self,
        repo: str,
        branch: str | None,
        places: Callable[[], Sequence[Path]],
        environment: Mapping[str, str],
        notice: Callable[[str], None],
        warn: Callable[[str], None],
        *,
        become: Account | None = None,
        limit: Limit | None = None,
        state: Path | None = None,
    ) -> None:
        """`places`: where clones may be, so that one can be made from another. They are the property of `become`.

        `notice` and `warn` take what the user should read.
        """
        super().__init__(state or Path(), become)
        local = is_local(repo)
        path = local and not repo.startswith("file://")
        self._repo = str(Path(repo).expanduser().absolute()) if path else repo
        self._git = GitProgram(environment, notice, local=local, become=become, limit=limit)
        self._clones = Clones(self._git, self._repo, places, notice=notice, warn=warn)
        self._branch = branch
        self._warn = warn
        self._checkout = Checkout(self._git)

    @cached_property
    def _commits(self) -> Commits:
        from substitute.sources.git.commits import Commits  # noqa: PLC0415  # a rollback brings no commit

        return Commits(self._git, self._repo, self._branch, self._clones, self._warn)

    @cached_property
    def _large_files(self) -> LargeFiles:
        from substitute.sources.git.lfs import LargeFiles  # noqa: PLC0415  # as above

        return LargeFiles(self._git, self._clones, self._repo)

    def resolve(
        self,
        directory: Path,
        commit: str | None,
        *,
        fetch: bool = True,
        ours: bool = False,
        sha256: str | None = None,
    ) -> Revision:
        """Choose the commit (see `core.ports.source.Source.resolve`)."""
        if sha256:
            raise UsageError(
                "--sha256 checks an archive, and this app comes from git.",
                cure="Name the whole hash of the commit: that is checked by git.",
            )
        directory = Path(os.path.realpath(directory))
        require_owner(directory, self._git.become)
        clones = self._clones
        if ours and (
            self._checkout.is_half_done(directory) or not clones.is_clone(directory) or clones.trap(directory)
        ):
            clones.replace_broken(directory)
        try:
            return self._choose(directory, commit, fetch=fetch)
        except (TooLongError, EmptyRemoteError):  # neither says anything of the clone
            raise
        except SourceError:
            if ours and clones.replace_broken(directory):
                return self._choose(directory, commit, fetch=fetch)
            raise

    def _choose(self, directory: Path, commit: str | None, *, fetch: bool) -> Revision:
        with _explained(directory):
            found = self._commits.choose(directory, commit, fetch=fetch)
            self._large_files.fetch(directory, found.commit)
            return found

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit` (see `core.ports.source.Source.update`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            if not self._clones.is_clone(directory):
                self._commits.choose(directory, commit, fetch=False)
            has_large_files = self._large_files.prepare(directory, commit)
            self._checkout.update(directory, commit, clean=clean)
            if has_large_files:
                self._large_files.complete(directory)
            self._large_files.complete_submodules(directory, commit)

    def returns(self, directory: Path, commit: str) -> bool:
        """Whether an update to `commit` and back leaves all as it is (see `core.ports.source.Source.returns`)."""
        with suppress(SourceError), _explained(directory):
            return self._checkout.returns(Path(os.path.realpath(directory)), commit)
        return False

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update to `left` (see `core.ports.source.Source.go_back`)."""
        with _explained(directory):
            self._checkout.go_back(Path(os.path.realpath(directory)), commit, left=left)

    def current(self, directory: Path) -> str | None:
        """The commit that the slot's files are at; None where there is no clone, or an unfinished one."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            return self._checkout.current(directory) if self._clones.is_clone(directory) else None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Read the tree of HEAD (see `core.ports.source.Source.untracked`)."""
        return self._checkout.untracked(Path(os.path.realpath(directory)), names)

    def contract(self, directory: Path, commit: str, *, since: str | None) -> str | None:
        """Read the trailers of their messages."""
        from substitute.sources.git.trailers import contract  # noqa: PLC0415  # only an app with `release` has any

        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            return contract(self._git, directory, commit, since=since)

    def restorable(self, directory: Path, name: str) -> bool:
        """Ask git of each file there (see `core.ports.source.Source.restorable`)."""
        directory = Path(os.path.realpath(directory))
        try:
            return self._clones.is_clone(directory) and written.restorable(self._git, directory, name)
        except (OSError, SourceError):
            return False

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        """Set git's own bit for it (see `core.ports.source.Source.hide`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            written.hide(self._git, directory, git_directory(directory), names)

    def written(self, directory: Path) -> list[str]:
        """Compare the time of each file that git did not make (see `core.ports.source.Source.written`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            if not self._clones.is_clone(directory):
                return []
            return written.written(self._git, directory, git_directory(directory))

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
        """Compare the trees of both commits (see `core.ports.source.Source.overwrites`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            return written.overwrites(self._git, directory, commit, names) if names else []

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        """Note a time in the clone's own directory (see `core.ports.source.Source.mark`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            if self._clones.is_clone(directory):
                with self._git.theirs():
                    written.mark(git_directory(directory), written_before)

    def is_marked(self, directory: Path) -> bool:
        """Whether there is a mark (see `core.ports.source.Source.is_marked`)."""
        directory = Path(os.path.realpath(directory))
        with _explained(directory):
            if not self._clones.is_clone(directory):
                return False
            with self._git.theirs():
                return written.is_marked(git_directory(directory))

    def changed(self, directory: Path, before: str, commit: str) -> list[str] | None:
        """Compare their trees (see `core.ports.source.Source.changed`)."""
        from substitute.sources.git import trees  # noqa: PLC0415  # only an app with `watch` is asked about

        return trees.changed(self._git, Path(os.path.realpath(directory)), before, commit)

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
        """Read its tree (see `core.ports.source.Source.absent`)."""
        from substitute.sources.git import trees  # noqa: PLC0415  # as above

        return trees.absent(self._git, Path(os.path.realpath(directory)), commit, paths)

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        """A repository of the deployer's own with the clone's objects (see `core.ports.source.Source.view`)."""
        from substitute.sources.git.view import make_view  # noqa: PLC0415  # only a hook gets one

        directory = Path(os.path.realpath(directory))
        with _explained(place):
            return make_view(self._git, directory, place) if self._clones.is_clone(directory) else {}

    def retain(self, commits: Collection[str]) -> None:
        """Nothing goes: the repository has all commits."""


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise SourceError(f"{directory} cannot be used.", fact=f"{place}: {error.strerror}.") from error
