"""``next_deploy`` and ``<app>_current``: for people and scripts, never believed by substitute itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.files import replace_link, write_atomically

if TYPE_CHECKING:
    from substitute.core.apps import App
    from substitute.core.records import AppRecord


def write_signposts(app: App, record: AppRecord) -> None:
    """Make both say what the journal says. A disk that refuses them stops nothing."""
    with suppress(OSError):
        app.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(app.state_directory / "next_deploy", f"{record.next_slot}\n")
        if record.live:
            replace_link(app.current_link, record.slots[record.live].directory.name)
