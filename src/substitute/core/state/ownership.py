"""Whose root a journal is: one that was copied with its directory names what runs for another root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.events import Warned
from substitute.core.state.lock import own_lock, short_lock
from substitute.values import asdict, dataclass

if TYPE_CHECKING:
    from substitute.core.model.events import Emit
    from substitute.core.state.journal import Journal

_ROOT, _FORMER = "root", "former root"
"""The facts that name where the root is, and where it was before it was moved."""


@dataclass(frozen=True)
class Place:
    """Where a root is: enough to know it again, and to know a copy from it."""

    path: str
    """Absolute, without links."""
    device: int | None = None
    inode: int | None = None
    machine: str | None = None
    """As /etc/machine-id has it."""


def recognize(journal: Journal, here: Place, emit: Emit) -> None:
    """Have `journal` be that of the root `here`, and tell what has become of the root since it was last seen.

    Of a copy nothing runs, whatever the journal says that came along with it: the original is still there.
    """
    with short_lock(Path(here.path, "deploy", "run", own_lock("journal"))):
        known = _known(journal)
        if known is None or known == here:
            told = ""
        elif known.machine and here.machine and known.machine != here.machine:
            journal.settle_in(here.path, keep=True)  # no process is of another boot's
            journal.forget_facts()
            told = (
                "This root directory comes from another machine: nothing of it runs here. "
                "`substitute up` starts what is live."
            )
        elif _is_same(known, here):
            told = _same(known, here)
        elif _is_root(known.path):
            journal.begin_anew(here.path)
            told = (
                f"This root directory is a copy of {known.path}, which still exists. What runs belongs to the "
                "original, and nothing is live in the copy; its history is kept. `substitute deploy` makes a version "
                "live. Both can run side by side if `listen` and all ports differ."
            )
        else:
            told = _moved(journal, known, here)
        journal.remember(_ROOT, json.dumps(asdict(here)))
    if told:
        emit(Warned(told))


def former_place(journal: Journal) -> Path | None:
    """Where the root was before it was moved, and no other root has taken the place: what was started there may run."""
    known = journal.fact(_FORMER)
    return Path(known) if known and not _is_root(known) else None


def _known(journal: Journal) -> Place | None:
    """Where the root was when it was last seen; an earlier version of substitute noted only its slots' places."""
    if noted := journal.fact(_ROOT):
        return Place(**json.loads(noted))
    parents = {
        str(slot.directory.parent) for name in journal.names() for slot in journal.app(name).slots.values()
    }
    return Place(min(parents)) if parents else None


def _is_same(known: Place, here: Place) -> bool:
    """Whether it is where it was; a directory may have two names."""
    try:
        return known.path == here.path or Path(known.path).samefile(here.path)
    except OSError:
        return False


def _is_root(path: str) -> bool:
    try:
        return Path(path, "deploy", "journal.db").exists()
    except OSError:  # it can't be seen: who knows
        return True


def _same(known: Place, here: Place) -> str:
    # Where the device is another one too, it was only mounted anew: some file systems number afresh then.
    if known.inode in {None, here.inode} or known.device != here.device:
        return ""
    return f"{here.path} was replaced by another directory, as from a backup. Only what runs in the new one counts."


def _moved(journal: Journal, known: Place, here: Place) -> str:
    same = known.inode is None or (known.device, known.inode) == (here.device, here.inode)
    if not same:
        journal.settle_in(here.path)
        return (
            f"This root directory was in {known.path}, which is gone. What still runs from there is left alone. "
            "`substitute up` starts what is live."
        )
    journal.settle_in(here.path, keep=True)
    journal.remember(_FORMER, known.path)
    return (
        f"This root directory was moved here from {known.path}. What runs goes on, but cannot be started again there. "
        "Type `substitute restart` for each app, and `substitute install` again if it was installed."
    )
