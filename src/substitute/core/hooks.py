"""Scripts of the user's that run at fixed points of a deployment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from substitute.core.errors import HookError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.core.apps import App
    from substitute.core.host import Host
    from substitute.core.records import SlotRecord

HOOKS = (
    "begin",
    "pre_checkout",
    "pre_install",
    "post_install",
    "pre_start",
    "post_start",
    "running",
    "pre_stop",
    "post_stop",
    "end",
)


def find_hook(app: App, slot: SlotRecord, name: str) -> Path | None:
    """The root's hook, else the slot's: a file called `name`, with any ending or none."""
    for directory in (app.state_directory / "hooks", slot.directory / ".substitute" / "hooks"):
        candidates = [directory / name, *sorted(directory.glob(f"{name}.*"))]
        for path in candidates:
            if path.is_file() and not path.name.endswith("~"):
                return path
    return None


def run_hook(
    host: Host,
    app: App,
    slot: SlotRecord,
    name: str,
    *,
    environment: Mapping[str, str],
    show: Callable[[str], None],
) -> None:
    """Run the hook `name` where there is one. Raises HookError when it fails."""
    path = find_hook(app, slot, name)
    if path is None:
        return
    cure = f"Mend {path}."
    if not os.access(path, os.X_OK):
        raise HookError(f"The hook {name} is not executable.", fact=str(path), cure=f"chmod +x {path}")
    directory = slot.directory if slot.directory.is_dir() else app.root
    try:
        ended = host.commands.run(
            [str(path)],
            directory=directory,
            environment=environment,
            on_line=show,
            on_start=lambda process: host.journal.command_started(app.name, process),
            timeout=app.hooks_timeout,
            user=None if path.is_relative_to(app.state_directory) else app.user,  # the root's are its owner's
        )
    except OSError as error:
        raise HookError(
            f"The hook {name} cannot be run.", fact=f"{path}: {error.strerror}", cure=cure
        ) from error
    host.journal.forget_commands(app.name)
    tail = "\n".join(f"  | {line}" for line in ended.tail)
    if ended.timed_out:
        raise HookError(f"The hook {name} did not end within {app.hooks_timeout:g}s.", fact=tail, cure=cure)
    if ended.status:
        raise HookError(f"The hook {name} failed with exit status {ended.status}.", fact=tail, cure=cure)
