"""Versions that are images: a tag becomes an image's id, which is the commit, and the slot has no files of it."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError
from substitute.core.ports.source import Revision
from substitute.io.files import write_atomically
from substitute.linux.subprocesses import capture
from substitute.sources.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from substitute.core.model.apps import App
    from substitute.core.ports.engine import Engine, Image

MARKER = ".substitute-image"
"""The file in a slot that says which image it stands for."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGITS = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")
_ENDINGS = (".tar", ".tar.gz", ".tgz")
"""By which, or by a ``/``, a file is told from a tag."""
_TELLING, _WHOLE = 12, 64
"""Digits by which a digest is told from a tag, and all that it has."""
_TAIL = 5
"""Lines of an error that are told."""
_REFUSED = (
    "unauthorized",
    "denied",
    "authentication",
    "unknown",
    "not found",
    "does not exist",
    "toomanyrequests",
)
"""What is said where a registry answers, and gives no image."""
_UNREACHABLE = (
    *(
        "connection refused",
        "connection reset",
        "no route to host",
        "unreachable",
        "no such host",
        "name resolution",
    ),
    *("server misbehaving", "timeout", "timed out", "deadline exceeded", "request canceled", "eof"),
    "unexpected http status: 5",
)
"""What is said where none answers, or only what stands before it."""


def connect(
    app: App,
    environment: Mapping[str, str],  # noqa: ARG001  # the engine has the one of who deploys
    notice: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    places: Callable[[], Sequence[Path]],  # noqa: ARG001
    engine: Callable[[], Engine | None],
) -> Images:
    """Make the source of `app`."""
    return Images(app, engine(), notice, warn)


class Images(Places):
    """Images of one repository of a registry (see `core.ports.source.Source`)."""

    ours = frozenset({MARKER})

    def __init__(
        self, app: App, engine: Engine | None, notice: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        """`engine` has the images; without one, none can be chosen."""
        super().__init__(app.state_directory / "releases", None)
        self._app = app.name
        self._repository, self._tag = _split(app.image.name)
        self._timeout = app.build.timeout
        self._has = engine
        self._notice, self._warn = notice, warn

    @property
    def _engine(self) -> Engine:
        if self._has is None:
            raise SourceError("Nothing here runs containers.", cure="Set runtime.kind in substitute.toml.")
        return self._has

    def resolve(
        self,
        directory: Path,  # noqa: ARG002  # there is nothing in the slot to get anything from
        commit: str | None,
        *,
        fetch: bool = True,
        ours: bool = False,  # noqa: ARG002
        sha256: str | None = None,
    ) -> Revision:
        """Choose a tag, by default that of the configuration, or by its digest an image that was deployed.

        What looks like a path is an archive of an image. One that is not here any more is fetched again by its digest.
        """
        if fetch and commit and ("/" in commit or commit.endswith(_ENDINGS)):
            return self._checked(self._loaded(Path(commit)), sha256)
        if known := self._deployed(commit, whole=not fetch):
            return self._checked(known, sha256)
        tag = commit or self._tag or "latest"
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"COMMIT {tag!r} is no tag of an image, and no digest of one that was deployed.",
                cure=f"`substitute deploy TAG` deploys {self._repository}:TAG.",
            )
        reference = f"{self._repository}:{tag}"
        found = self._fetched(reference)
        revision = Revision(_number(found), reference, f"image {reference}", tag=tag)
        return self._checked(revision, sha256, found.digests)

    def _loaded(self, archive: Path) -> Revision:
        if not archive.is_file():
            raise UsageError(f"There is no archive {archive}.", cure="Name a tag, or the file of an image.")
        found, names = self._engine.load(archive)
        self._engine.hold(found.id, self._app, _hash(found.id))
        for name in names:  # it is held by our name alone, and goes when no version needs it
            self._engine.let_go(name)
        return Revision(_hash(found.id), archive.name, f"archive {archive}")

    def _deployed(self, commit: str | None, *, whole: bool) -> Revision | None:
        """The only image that was deployed and whose digest, or id, begins so; none for what may be a tag."""
        digits = _DIGITS.fullmatch(commit.lower()) if commit else None
        if digits is None:
            return None
        tags = [name.rpartition(":")[2] for name in self._engine.held(self._app)]
        found = [one for one in tags if one.startswith(digits[1])]
        if len(found) == 1 and (len(digits[1]) >= _TELLING or found[0] == digits[1]):
            return Revision(found[0], self._repository, "image that was deployed")
        if whole or len(digits[1]) == _WHOLE:
            digest = f"{self._repository}@sha256:{digits[1]}"
            self._notice(f"The image {digits[1][:10]} is not here any more: it is fetched again.")
            self._fetched(digest, called=digits[1])
            return Revision(digits[1], digest, f"image {digest}")
        return None

    def _checked(self, revision: Revision, sha256: str | None, digests: Sequence[str] = ()) -> Revision:
        wanted = sha256.lower().removeprefix("sha256:") if sha256 else revision.commit
        if wanted not in {revision.commit, *map(_digits, digests)}:
            raise UsageError(f"{revision.subject} is {revision.commit}, and not {sha256}.")
        return revision

    def _fetched(self, reference: str, *, called: str = "") -> Image:
        """Fetch an image and hold it as `called`, by default as its digest.

        The name by which it was fetched stays where it was here before.

        Where the registry does not answer, what is here under that name is used, and that is told. Where it refuses,
        what is here may be an older one, and is not: but for a name by digest, which is always the same one.
        """
        before, argv = self._engine.find(reference), self._engine.pulling(reference)
        failure, silent = "", False
        try:
            told = capture(argv, timeout=self._timeout)
            if told.status or told.timed_out:
                silent = told.timed_out or _is_silence(told.err.lower())
                tail = told.err.strip().splitlines()[-_TAIL:]
                failure = "\n".join(f"  | {line}" for line in tail) or "It did not end."
        except OSError as error:
            failure = f"{self._engine.name} cannot be run: {error.strerror}."
        found = before if failure else self._engine.find(reference)
        if found is None or (failure and not silent and "@" not in reference):
            older = (
                "\nThe image of that name that is here may be an older one, and is not used."
                if before
                else ""
            )
            raise SourceError(
                f"The image {reference} cannot be fetched.",
                fact=f"{failure}{older}",
                cure=f"Try `{shlex.join(argv)}`; `{argv[0]} login {reference.partition('/')[0]}` keeps a login.",
            )
        if failure:
            self._warn(f"{reference} cannot be fetched; the one that is here already is used.\n{failure}")
        self._engine.hold(found.id, self._app, called or _number(found))
        if before is None:
            self._engine.let_go(reference)
        return found

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:  # noqa: ARG002
        """Write into the slot which image it stands for."""
        if not directory.exists():
            directory.mkdir(parents=True)
        elif any(directory.iterdir()) and not (directory / MARKER).exists():
            raise UsageError(
                f"{directory} is not empty, and holds no image.",
                cure="Move it away, and a new one is made.",
            )
        write_atomically(directory / MARKER, f"{commit}\n", mode=0o644)

    def returns(self, directory: Path, commit: str) -> bool:  # noqa: ARG002
        """Yes: a name is all that changes."""
        return True

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:  # noqa: ARG002
        """As an update."""
        self.update(directory, commit, clean=False)

    def current(self, directory: Path) -> str | None:
        """By the marker in the slot."""
        with suppress(OSError):
            return (directory / MARKER).read_text(encoding="utf-8").strip() or None
        return None

    def contract(self, directory: Path, commit: str, *, since: str | None) -> None:  # noqa: ARG002
        """No image has a message that could say so."""
        return

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """All that is there: an image puts nothing into the slot."""
        return [name for name in names if (directory / name).exists()]

    def restorable(self, directory: Path, name: str) -> bool:  # noqa: ARG002
        """No: no image holds it."""
        return False

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        """Nothing looks at what changed."""

    def written(self, directory: Path) -> list[str]:  # noqa: ARG002
        """None: the app writes into its container, and into what it shares."""
        return []

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:  # noqa: ARG002
        """None."""
        return []

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        """Nothing is written there."""

    def is_marked(self, directory: Path) -> bool:
        """Whether it stands for an image."""
        return self.current(directory) is not None

    def changed(self, directory: Path, before: str, commit: str) -> None:  # noqa: ARG002
        """It is not known."""
        return

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:  # noqa: ARG002
        """It is not known."""
        return []

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:  # noqa: ARG002
        """Nothing: there are no commits for git to see."""
        return {}

    def retain(self, commits: Collection[str]) -> None:
        """Nothing by itself: images go when no version needs them (`core.deploy.versions.kept_versions`)."""


def _split(reference: str) -> tuple[str, str]:
    """A repository, and the tag behind it."""
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag


def _is_silence(said: str) -> bool:
    """Whether a registry could not be reached, by what the engine says."""
    return any(one in said for one in _UNREACHABLE) and not any(one in said for one in _REFUSED)


def _number(image: Image) -> str:
    """What its version is called."""
    return _digits(image.digest) or _hash(image.id)


def _digits(digest: str) -> str:
    return digest.rpartition(":")[2]


def _hash(identity: str) -> str:
    return identity.removeprefix("sha256:")
