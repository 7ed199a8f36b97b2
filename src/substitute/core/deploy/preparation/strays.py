"""What an app writes into its slot: the next version does not see it. So it is told, and never deleted.

Files that git tracks, and builds made, can be had again. What is ignored may be lost, by the word of the repository,
and what is shared is elsewhere. All else that is in a slot the app wrote, and perhaps nobody else has it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import SharedError, SourceError
from substitute.core.model.events import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.apps import App

_COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""
_SHOWN = 3


def rescue(attempt: Attempt) -> None:
    """Before the candidate's slot is updated: keep what the app wrote there and the update would take away.

    Raises SharedError where it can't be kept, and where `clean` would remove what nobody can look at.
    """
    host, app, slot = attempt.host, attempt.app, attempt.slot
    source, commit = host.source(app), attempt.plan.revision.commit
    try:
        # At a path that is to be shared from now on, only what the update would overwrite is in danger.
        written = source.written(slot.directory)
        cleaned = _besides(written, _shared(attempt)) if app.clean else []
        lost = [
            *cleaned,
            *source.overwrites(slot.directory, commit, [one for one in written if one not in cleaned]),
        ]
    except SourceError:
        if app.clean:
            raise
        return
    with suppress(SourceError):
        source.mark(slot.directory, [name for name in written if name not in lost])
    if lost:
        kept = _keep(attempt, lost)
        why = f"the {'cleaning' if app.clean else 'update'} would have taken it away"
        held = f"Slot {slot.name} held what the app wrote there, and {why}: {_listed(lost)}."
        attempt.emit(Warned(f"{held} It is kept in {kept.relative_to(app.root)}. {_cure(app, lost)}"))


def _keep(attempt: Attempt, names: Sequence[str]) -> Path:
    from substitute.core.deploy.preparation.kept import Kept  # noqa: PLC0415  # there is seldom anything to keep

    host, app, slot = attempt.host, attempt.app, attempt.slot
    files = host.files(app)
    try:
        kept = Kept(host, app, files, slot.name).place("")
        # A database comes before what is beside it, which it takes into itself when it is moved.
        for name in sorted(names, key=lambda name: name.endswith(_COMPANIONS)):
            if files.look(slot.directory / name):
                files.move(slot.directory / name, kept / name)
    except OSError as error:
        raise SharedError(
            f"What {app.name} wrote in slot {slot.name} cannot be kept, so the slot is not updated.",
            fact=f"{error.filename}: {error.strerror}.",
        ) from error
    return kept


def mark(attempt: Attempt) -> None:
    """What is in the candidate's slot now, git and builds made. Never raises."""
    with suppress(SourceError):
        attempt.host.source(attempt.app).mark(attempt.slot.directory)


def tell(attempt: Attempt) -> None:
    """After the commit: say what the version that left wrote in its slot. Nothing hangs on it."""
    with suppress(Exception):
        host, app = attempt.host, attempt.app
        slot = host.journal.app(app.name).slots[attempt.slot.name.other]
        source = host.source(app)
        if not slot.commit or not source.is_marked(slot.directory):
            return
        written = source.written(slot.directory)
        if written and (written := _besides(written, _shared(attempt))):
            wrote = f"{app.name} wrote in slot {slot.name}: {_listed(written)}."
            lacks = f"Slot {attempt.slot.name}, which is live now, does not have it."
            attempt.emit(Warned(f"{wrote} {lacks} {_cure(app, written)}"))


def _besides(names: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """Those that are not at or below a path of `left_out`, nor what SQLite keeps beside such a database."""
    paths = tuple(f"{path}/" for path in left_out)
    alone = {f"{path}{ending}" for path in left_out for ending in ("", *_COMPANIONS)}
    return [name for name in names if name not in alone and not name.startswith(paths)]


def _shared(attempt: Attempt) -> list[str]:
    """All that is shared, and all that was: links that stand in a slot still."""
    from substitute.core.deploy.preparation.shared import laid_before, names_of  # noqa: PLC0415  # slow to import

    app = attempt.app
    return [*names_of(app), *laid_before(attempt.host, app)]


def _listed(names: Sequence[str]) -> str:
    plain = _plain(names)
    more = len(plain) - _SHOWN
    return ", ".join(plain[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _cure(app: App, names: Sequence[str]) -> str:
    """The line of substitute.toml that shares them: their directories, and the files that are in none."""
    at_home = [name.removeprefix(f"{app.directory}/") for name in _plain(names)]
    tops = dict.fromkeys(name.rpartition("/")[0] or name for name in at_home)
    outer = [top for top in tops if not any(top.startswith(f"{other}/") for other in tops)]
    paths = ", ".join(f'"{top}"' for top in [*app.shared, *outer[:_SHOWN]])
    line = f"shared = [{paths}{', …' if len(outer) > _SHOWN else ''}]"
    return (
        f"To have it in both slots: `{line}` in [app.{app.name}]. If it may be lost, name it in .gitignore."
    )


def _plain(names: Sequence[str]) -> list[str]:
    """Without what SQLite keeps beside a database."""
    ends = {name: next((end for end in _COMPANIONS if name.endswith(end)), "") for name in names}
    return list(dict.fromkeys(name.removesuffix(end) for name, end in ends.items()))
