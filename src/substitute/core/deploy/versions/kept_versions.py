"""Versions that are kept as they were built, so that a rollback goes to each of them without building.

Paths are built into a version (scripts of a virtual environment, caches). So none is ever moved or copied: with more
than two to be kept, each is built in a directory of its own, `shop_12` for the one that deployment 12 has made, and
what a slot holds is a directory that the journal names. To go back is to name another one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain, count
from typing import TYPE_CHECKING

from substitute.core.model.errors import InterruptedByUserError, SubstituteError, UsageError
from substitute.core.model.events import Warned
from substitute.core.model.unexpected import expected

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.ports.engine import Builder

_OF_THE_SLOTS = 2
_NAMED = 3
"""How many files are named in a message."""


def keeps_more(app: App) -> bool:
    """Whether more versions are to be kept than there are slots."""
    return app.releases > _OF_THE_SLOTS


def moved_on(host: Host, app: App, slot: SlotRecord, deployment: int) -> bool:
    """Give `slot` a directory of its own for what is built now; False where it stays in the one that it has.

    There it stays as long as that holds no finished build, which would be worth to be kept.
    """
    if not keeps_more(app) or not slot.intact:
        return False
    name = f"{app.name}_{deployment}"
    names = chain([name], (f"{name}_{again}" for again in count(2)))
    free = next(place for one in names if not os.path.lexists(place := app.root / one))
    host.journal.move_on(slot, free)
    return True


def target_of(host: Host, app: App, record: AppRecord, commit: str | None) -> str | None:
    """The commit to roll back to: the one before the live one, or one that `commit` names. None: there is none.

    Raises UsageError where it names none that was live, or several.
    """
    live = record.live_slot.commit if record.live_slot else None
    if commit is None:
        return host.journal.rollback_commit(app.name, live)
    known = host.journal.versions(app.name)
    tagged = {one.commit for one in host.journal.history(app.name) if one.tag == commit}
    found = [one for one in known if one in tagged] or [
        one for one in known if one.startswith(commit.lower())
    ]
    if len(found) > 1:
        fact = "It could be " + ", or ".join(found) + "."
        raise UsageError(f"COMMIT {commit!r} is ambiguous.", fact=fact, cure="Write more of the hash.")
    if not found:
        raise UsageError(
            f"{app.name} was never live at {commit!r}.",
            cure="See `substitute history`; `substitute deploy COMMIT` goes to any commit.",
        )
    if found[0] == live:
        raise UsageError(f"{found[0][:10]} is live already.", cure="`substitute restart` builds it again.")
    return found[0]


def taken_up(host: Host, app: App, slot: SlotRecord, commit: str) -> SlotRecord:
    """`slot`, which holds `commit` then if that is kept anywhere."""
    if (slot.intact and slot.commit == commit) or commit not in host.journal.kept(app.name):
        return slot
    host.journal.take_up(slot, commit)
    return host.journal.app(app.name).slots[slot.name]


def remove_others(host: Host, app: App) -> None:
    """Remove what is kept no longer. Nothing hangs on it: where that fails, it is told, and tried again next time."""
    if app.remembered:  # how many are to be kept is not known
        return
    journal = host.journal
    if not journal.kept(app.name) and not journal.discarded(app.name):
        return
    slots = [slot.commit for slot in journal.app(app.name).slots.values() if slot.intact]
    wanted = journal.versions(app.name, app.releases)
    try:
        journal.discard(app.name, [commit for commit in wanted if commit not in slots])
        for directory in journal.discarded(app.name):
            left = host.source(app).remove(directory)
            journal.forget_release(app.name, directory)
            if left is None or left:
                host.emit(Warned(_told(directory, left)))
    except InterruptedByUserError:
        raise
    except Exception as error:  # noqa: BLE001
        host.emit(Warned(f"A version that is kept no longer cannot be removed. {expected(error).reason}"))


def retain_archives(host: Host, app: App) -> None:
    """Have the source forget what only other versions were made of."""
    slots = host.journal.app(app.name).slots.values()
    wanted = {slot.commit for slot in slots if slot.commit}
    host.source(app).retain(wanted | set(host.journal.versions(app.name, app.releases)))


def remove_images(host: Host, app: App) -> None:
    """Have the engine let go of the images that no version needs which could be started. Raises RuntimeFailedError."""
    engine = host.engine() if app.is_contained and not app.remembered else None
    if engine is None:
        return
    wanted = host.journal.images(app.name)
    for name, image in engine.held(app.name).items():
        if image not in wanted:
            engine.let_go(name)
    if app.is_pushed:
        with suppress(SubstituteError):  # what runs needs no image here, and a rollback nothing that builds
            _remove_built(host, app, engine.builder())


def _remove_built(host: Host, app: App, builder: Builder) -> None:
    """The same of what was built for a registry: an image here is the beginning of the next build, and no more."""
    wanted = host.journal.kept_commits(app.name)
    for name in builder.held(app.name):
        commit = name.rpartition(":")[2].partition("-")[0]
        if commit not in wanted:
            builder.let_go(name)
            builder.let_go(app.image_of(commit))  # who was killed while he pushed has left it


def _told(directory: Path, left: list[str] | None) -> str:
    if left is None:
        return (
            f"{directory} is used no longer. It was built when versions were not kept, so it is left alone: remove it "
            "when you need nothing of it."
        )
    named = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
    return (
        f"The version in {directory} is kept no longer, and was removed. What was written there since it was built "
        f"stays: {named}. Name in `shared` what must outlive a version, and remove the rest."
    )
