"""The app's directory in a slot (`directory`): the commit must have it, and it must lie in the slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord


def require_directory(host: Host, app: App, slot: SlotRecord, commit: str) -> None:
    """Look for the app's directory among the files of `commit`, which `slot` holds now. Raises SourceError.

    What an earlier build has left there is none of the commit's. A link may lead elsewhere in the slot, and not out.
    """
    if not app.directory:
        return
    key = f"app.{app.name}.directory"
    try:
        found = slot.place(app).resolve(strict=True)
    except (OSError, RuntimeError):  # it leads to nothing, or in a circle
        found = None
    absent = host.source(app).absent(slot.directory, commit, [app.directory])
    if absent or found is None or not found.is_dir():
        raise SourceError(
            f"The commit {commit[:10]} has no directory {app.directory}.",
            fact=f"{key} says that {app.name} lives there.",
            cure=f"Correct {key} in substitute.toml, or deploy a commit that has it.",
        )
    top = slot.directory.resolve()
    if not found.is_relative_to(top) or found.is_relative_to(top / ".git"):
        raise SourceError(
            f"{app.directory} leads out of slot {slot.name}.",
            fact=f"In the commit {commit[:10]} it is a link to {found}.",
            cure=f"Name a directory of the repository in {key}.",
        )
