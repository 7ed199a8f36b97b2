"""Makes a slot's directory a clone of the app's repository."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.io.files import read_regular, remove_tree
from substitute.sources.git.remotes import reason, shown
from substitute.sources.workplace import Workplace, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from substitute.sources.git.program import GitProgram

_ORIGIN = re.compile(r'^\[remote "origin"\]\n(?:\s+(?!url\b)\w.*\n)*\s+url = ([^"\\#;\n]+)$', re.MULTILINE)


_REMOTE_HEAD = "refs/remotes/origin/HEAD"


class Clones:
    """The clones of one repository, one for each place of a version."""

    def __init__(
        self,
        git: GitProgram,
        repo: str,
        places: Callable[[], Sequence[Path]],
        *,
        notice: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._git = git
        self._repo = repo
        self._places = places
        self._notice = notice
        self._warn = warn

    def is_clone(self, directory: Path) -> bool:
        """Whether git has made something of `directory`."""
        with self._git.theirs():
            return (directory / ".git").exists()

    def trap(self, directory: Path) -> Path | None:
        """What a build has put into the clone's ``.git``, and git would wait for, for ever: a FIFO or a device."""
        with self._git.theirs():
            return next(_endless(directory / ".git"), None)

    def ensure(self, directory: Path) -> None:
        """Make `directory` a clone; one that is there already is taken as it is.

        Raises UsageError where something else is in it, SourceError where the repository can't be cloned.
        """
        if self.is_clone(directory):
            if trap := self.trap(directory):
                raise SourceError(
                    f"The clone in {directory} cannot be used.",
                    fact=f"{trap} is {_kind(trap)}: git would wait for it for ever.",
                    cure="Remove it.",
                )
            self._point_at_repo(directory)
            return
        with self._git.theirs():
            taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
        if taken:
            raise UsageError(
                f"{directory} is not empty and is no git clone.",
                cure="Move it away, and a clone is made there.",
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        with Workplace(directory, self._git.become) as place:
            if not self._from_sibling(directory, place.clone):
                self._from_repo(directory, place.clone)
            if directory.exists() and not self._git.become:
                _take_over(directory, place.clone)
            place.publish()

    def replace_broken(self, directory: Path) -> bool:
        """Set a clone aside that git can't read any more, or that has lost objects; whether it was one.

        What was in it beside tracked files is kept, in one place: what an earlier time set aside goes.
        """
        with self._git.theirs():
            if not directory.is_dir() or not any(directory.iterdir()):
                return False
        fault = self._fault(directory)
        if not fault:
            return False
        aside = set_aside(directory)
        self._warn(
            f"The clone in {directory} was broken: {fault} It is kept as {aside}, and a new one is made."
        )
        return True

    def _fault(self, directory: Path) -> str:
        """What is wrong with the clone in `directory`; empty where git can read all of it."""
        if not self.is_clone(directory):
            return "it has no .git."
        if trap := self.trap(directory):
            return f"{trap} is {_kind(trap)}, for which git would wait for ever."
        # A branch that the remote has no more leaves this one dangling, which is no fault of the clone.
        if self._git.run(directory, "rev-parse", "--verify", "--quiet", _REMOTE_HEAD).status:
            self._git.run(directory, "symbolic-ref", "--delete", _REMOTE_HEAD)
        checked = self._git.run(directory, "fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        return reason(checked) if checked.status else ""

    def siblings(self, directory: Path) -> list[Path]:
        """The other clones."""
        places = dict.fromkeys(Path(os.path.realpath(place)) for place in self._places())
        others = (place for place in places if place != directory)
        return [other for other in others if self.is_clone(other) and not self.trap(other)]

    def _from_sibling(self, directory: Path, made: Path) -> bool:
        """Clone another slot's clone: its objects are linked, not copied, and survive its deletion."""
        for sibling in self.siblings(directory):
            git = self._git
            copied = git.run(
                None,
                "clone",
                "--quiet",
                "--local",
                "--no-checkout",
                "--no-tags",
                "--",
                str(sibling),
                str(made),
            )
            # Its remote branches are what it knows of origin; its own branches are of no interest.
            if not copied.status:
                refs = ("+refs/remotes/origin/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
                copied = git.run(made, "fetch", "--quiet", "--prune", "--no-tags", "--force", "origin", *refs)
            if not copied.status:
                copied = git.run(made, "remote", "set-url", "origin", self._repo)
            if not copied.status:
                return True
            with git.theirs():
                remove_tree(made, ignore_errors=True)
        return False

    def _from_repo(self, directory: Path, made: Path) -> None:
        self._notice(f"Cloning {shown(self._repo)} into {directory}.")
        arguments = ("--quiet", "--no-checkout", "--origin", "origin", "--no-recurse-submodules")
        ended = self._git.run(
            None, "clone", *arguments, *self._git.serving, "--", self._repo, str(made), remote=True
        )
        if ended.status:
            why = self._git.remote(self._repo).trouble(ended)
            raise SourceError(f"{shown(self._repo)} cannot be cloned.", fact=why.fact, cure=why.cure)

    def _point_at_repo(self, directory: Path) -> None:
        origin = self._origin(directory)
        if origin == self._repo:
            return
        if origin is None:
            self._git.demand(
                directory, "remote", "add", "origin", self._repo, failing=f"{directory} is a broken clone."
            )
            return
        self._warn(
            f"The clone in {directory} came from {shown(origin)}, but the app's repo is {shown(self._repo)}."
        )
        self._git.demand(
            directory, "remote", "set-url", "origin", self._repo, failing=f"{directory} is a broken clone."
        )
        self._notice(f"The origin of {directory} is now {shown(self._repo)}.")

    def _origin(self, directory: Path) -> str | None:
        # What git writes itself is read without starting it; anything unusual is git's to understand.
        with suppress(OSError, UnicodeDecodeError), self._git.theirs():
            found = _ORIGIN.findall(read_regular(directory / ".git" / "config").decode())
            if len(found) == 1:
                return str(found[0]).strip()
        return self._git.run(directory, "config", "--get", "remote.origin.url").out.strip() or None


def _endless(directory: Path) -> Iterator[Path]:
    """All FIFOs and devices below `directory`, and the links to such."""
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                if _kind(path := Path(place, name)):
                    yield path


def _kind(path: Path) -> str:
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""


def _take_over(directory: Path, made: Path) -> None:
    # Somebody made the empty directory with a purpose: it keeps its mode and, where possible, its owner.
    seen = directory.stat()
    made.chmod(seen.st_mode & 0o7777)
    with suppress(PermissionError):
        os.chown(made, seen.st_uid, seen.st_gid)
