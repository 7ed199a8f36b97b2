"""Brings what was built elsewhere into a slot."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.core.ports.source import Revision
from substitute.linux.users import account, acting_as
from substitute.sources.archive.entries import MARKER
from substitute.sources.archive.marker import held, note
from substitute.sources.archive.room import Room
from substitute.sources.archive.store import Store, require_outside
from substitute.sources.archive.unpacking import Unpacking
from substitute.sources.changes import MADE_AGAIN, files_at, is_later
from substitute.sources.places import Places
from substitute.sources.workplace import Workplace, require_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from substitute.core.model.apps import App
    from substitute.core.ports.engine import Engine
    from substitute.linux.users import Account
    from substitute.sources.archive.store import Stored

_DIGITS = re.compile(r"[0-9a-f]{4,64}")
_CURE = "Name a file (tar or zip) or a directory that was built: `substitute deploy FILE`."


def connect(
    app: App,
    environment: Mapping[str, str],  # noqa: ARG001  # it starts nothing that would need it
    notice: Callable[[str], None],
    warn: Callable[[str], None],  # noqa: ARG001
    *,
    places: Callable[[], Sequence[Path]],  # noqa: ARG001
    engine: Callable[[], Engine | None],  # noqa: ARG001
) -> Archives:
    """Make the source of `app`."""
    return Archives(app.root, app.state_directory, notice, become=account(app.user))


class Archives(Places):
    """Archives and directories, each by its SHA-256 (see `core.ports.source.Source`)."""

    ours = frozenset({MARKER})

    def __init__(
        self, root: Path, state: Path, notice: Callable[[str], None], *, become: Account | None = None
    ) -> None:
        """`state`: the app's, for what was deployed."""
        super().__init__(state / "releases", become)
        self._root = root
        self._store = Store(state / "archives")
        self._notice = notice
        self._become = become

    def resolve(
        self,
        directory: Path,
        commit: str | None,
        *,
        fetch: bool = True,
        ours: bool = False,  # noqa: ARG002  # there is nothing in the slot to get anything from
        sha256: str | None = None,
    ) -> Revision:
        """Take in the archive or directory at the path `commit`, or choose one by the beginning of its SHA-256."""
        directory = Path(os.path.realpath(directory))
        require_owner(directory, self._become)
        self._require_free(directory)
        if not commit:
            raise UsageError("Which archive is to be deployed is not said.", cure=_CURE)
        with _explained(commit):
            if fetch and os.path.lexists(commit):
                return self._take_in(Path(commit).absolute(), directory, sha256)
            return self._kept(commit, sha256, deployed=not fetch)

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the archive's files those of `commit` (see `core.ports.source.Source.update`)."""
        directory = Path(os.path.realpath(directory))
        self._require_free(directory)
        with _explained(str(directory)):
            if not directory.exists():
                self._make(directory)
            try:
                stored = self._store.about(commit)
                with self._store.opened(commit) as archive:
                    size = os.fstat(archive.fileno()).st_size
                    Unpacking(directory, stored, self._become).run(
                        archive, Room(directory, size), clean=clean
                    )
            except FileNotFoundError as error:
                if error.filename and Path(error.filename).name.startswith(commit):
                    raise self._gone(commit) from error
                raise

    def returns(self, directory: Path, commit: str) -> bool:  # noqa: ARG002
        """No: what an update takes away is unpacked again."""
        return False

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:  # noqa: ARG002
        """Update it to the earlier archive."""
        self.update(directory, commit, clean=False)

    def current(self, directory: Path) -> str | None:
        """Read the marker in the slot."""
        with suppress(OSError), acting_as(self._become):
            return held(Path(os.path.realpath(directory))).commit
        return None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Read the marker in the slot."""
        with suppress(OSError), acting_as(self._become):
            files = held(directory).files
            inside = [name for name in names if os.path.lexists(directory / name)]
            return [name for name in inside if not any(f"{one}/".startswith(f"{name}/") for one in files)]
        return []

    def contract(self, directory: Path, commit: str, *, since: str | None) -> None:  # noqa: ARG002
        """No archive has a message that could say so."""
        return

    def restorable(self, directory: Path, name: str) -> bool:
        """Whether all that lies there is as it was unpacked, by the time of each file and link."""
        directory = Path(os.path.realpath(directory))
        with suppress(OSError), acting_as(self._become):
            known = held(directory)
            return all(
                one in known.files
                and one not in known.written
                and not (known.since and (directory / one).lstat().st_ctime_ns > known.since)
                for one in files_at(directory, name)
            )
        return False

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        """Nothing looks at what changed."""

    def written(self, directory: Path) -> list[str]:
        """Compare the time of each file that is of no archive and no build."""
        directory = Path(os.path.realpath(directory))
        with _explained(str(directory)), acting_as(self._become):
            try:
                known = held(directory)
            except FileNotFoundError:
                return []
            found = [one for one in files_at(directory, "", passing=MADE_AGAIN) if one != MARKER]
            of_archive = known.files if not known.since else frozenset()
            return sorted(
                one
                for one in found
                if one not in of_archive and (one in known.written or is_later(directory / one, known.since))
            )

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
        """Those of `names` that are of the archive in the slot, or stand in the way of the one that comes."""
        directory = Path(os.path.realpath(directory))
        with _explained(commit):
            coming = set(self._store.about(commit).files)
            with acting_as(self._become):
                there = held(directory).files if names else frozenset()
        places = {str(above) for one in coming for above in Path(one).parents}

        def is_in_the_way(name: str) -> bool:
            above = {str(one) for one in Path(name).parents}
            return name in there or name in coming or name in places or bool(above & coming)

        return [name for name in names if is_in_the_way(name)]

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        """Write them into the slot's marker."""
        directory = Path(os.path.realpath(directory))
        with _explained(str(directory)), acting_as(self._become), suppress(FileNotFoundError):
            known = held(directory)
            written = known.written if written_before is None else written_before
            note(directory, known.commit, known.files, written, built=True)

    def is_marked(self, directory: Path) -> bool:
        """Whether its marker has a time."""
        with suppress(OSError), acting_as(self._become):
            return held(Path(os.path.realpath(directory))).since > 0
        return False

    def changed(self, directory: Path, before: str, commit: str) -> None:  # noqa: ARG002
        """It is not known: what was in the one before may be gone."""
        return

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Look at what was noted of the archive when it was taken in."""
        try:
            stored = self._store.about(commit)
        except OSError:
            return []
        held = [f"{one}/" for one in (*stored.files, *stored.directories)]
        return [path for path in paths if path and not any(one.startswith(f"{path}/") for one in held)]

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:  # noqa: ARG002
        """Nothing: there are no commits for git to see."""
        return {}

    def retain(self, commits: Collection[str]) -> None:
        """Remove the archives of others."""
        self._store.retain(commits)

    def _take_in(self, path: Path, directory: Path, sha256: str | None) -> Revision:
        if path.is_dir():
            require_outside(path, self._root)
        stored = self._store.take_in(path, unpacked_at=directory, sha256=sha256)
        if top := _only_directory(stored):
            self._notice(
                f"All that {stored.name} holds lies in one directory, {top}: so it will in the slot."
            )
        return Revision(stored.commit, stored.name, f"{'directory' if path.is_dir() else 'archive'} {path}")

    def _kept(self, commit: str, sha256: str | None, *, deployed: bool) -> Revision:
        digits = commit.lower()
        found = self._store.find(digits) if _DIGITS.fullmatch(digits) else []
        if len(found) > 1:
            raise UsageError(
                f"COMMIT {commit!r} is ambiguous.",
                fact="It could be " + ", or ".join(found) + ".",
                cure="Write more of the SHA-256.",
            )
        if not found and deployed:
            raise self._gone(commit)
        if not found:
            raise UsageError(
                f"There is no file or directory {commit}, and no archive that is kept begins so.", cure=_CURE
            )
        if sha256 and sha256.lower() != found[0]:
            raise UsageError(f"{commit} is {found[0]}, and not {sha256}.")
        return Revision(found[0], self._store.about(found[0]).name, "archive that is kept")

    def _gone(self, commit: str) -> SourceError:
        return SourceError(
            f"The archive {commit[:10]} is no longer kept.",
            cure="Deploy it again from its file: `substitute deploy FILE`.",
        )

    def _require_free(self, directory: Path) -> None:
        """Nothing but an archive may be in the slot, beside what the app wrote there since."""
        with acting_as(self._become):
            taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
            if taken and not (directory / MARKER).exists():
                what = (
                    "holds a git clone"
                    if (directory / ".git").exists()
                    else "is not empty, and holds no archive"
                )
                raise UsageError(
                    f"{directory} {what}.", cure="Move it away, and the archive is unpacked into a new one."
                )

    def _make(self, directory: Path) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with Workplace(directory, self._become) as place:
            with acting_as(self._become):
                place.clone.mkdir(mode=0o755)
            place.publish()


def _only_directory(stored: Stored) -> str:
    tops = {name.split("/")[0] for name in stored.files}
    top = next(iter(tops))
    return top if len(tops) == 1 and top not in stored.files else ""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{what} cannot be deployed.", fact=f"{error.filename or what}: {error.strerror or error}."
        ) from error
