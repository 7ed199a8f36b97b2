"""``<app>_current`` and ``next_deploy``: for people, scripts and servers of files; substitute never believes them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.events import Warned
from substitute.io.files import read_regular, replace_link, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from substitute.core.model.apps import App


def write_pointers(host: Host, app: App) -> None:
    """Make both say what the journal says, each in one step; what is right already is not written.

    A disk that refuses one stops nothing and is told, for nginx or php-fpm may serve through the link.
    """
    record = host.journal.app(app.name)
    if record.live:
        leads = record.slots[record.live].directory.name
        _put_right(host, lambda: _link(app, leads), f"The link {app.current_link} does not point to {leads}.")
    said = f"{record.next_slot}\n"
    file = app.state_directory / "next_deploy"
    _put_right(host, lambda: _note(app, said), f"{file} does not say {record.next_slot}.")


def _put_right(host: Host, write: Callable[[], None], otherwise: str) -> None:
    try:
        write()
    except OSError as error:
        host.emit(
            Warned(f"{otherwise} It cannot be replaced: {error.strerror}. `substitute up` tries again.")
        )


def _link(app: App, leads: str) -> None:
    with suppress(OSError):
        if os.readlink(app.current_link) == leads:  # noqa: PTH115  # as it was written
            return
    replace_link(app.current_link, leads)


def _note(app: App, said: str) -> None:
    app.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = app.state_directory / "next_deploy"
    with suppress(OSError):
        if read_regular(file).decode(errors="replace") == said:
            return
    write_atomically(file, said, durably=False)  # settling looks at it after a power loss
