"""The Procfile in the app's directory: it says how the app is started where substitute.toml does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.core.model.procfile import NAME, RELEASE, WEB, Procfile, parse
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord


def with_procfile(
    host: Host, app: App, slot: SlotRecord, warn: Callable[[str], None] = lambda _: None
) -> App:
    """`app` with what the Procfile in `slot` says: its commands, and `start` where that is not configured.

    `warn` is told of lines that say nothing. Raises SourceError where nothing says how `app` is started.
    """
    file = slot.place(app) / NAME
    found = _read(host, app, file)
    where = str(file.relative_to(slot.directory))
    for problem in found.problems if found else ():
        warn(f"{where}: {problem}.")
    commands = found.commands if found else {}
    start = app.start or commands.get(WEB, "")
    if not start and not app.is_contained:  # an image knows by itself
        holds = f"{where} of the commit has no line `{WEB}:`" if found else f"The commit has no {where}"
        raise SourceError(
            f"How to start {app.name} is not known.",
            fact=f"{holds}, and app.{app.name}.start is not written.",
            cure=f'Write `start = "…"` in [app.{app.name}] of substitute.toml, or a line `{WEB}: …` in {where} of the '
            "repository; commit and push that.",
        )
    others = {name: command for name, command in commands.items() if name not in {WEB, RELEASE}}
    release = replace(
        app.release,
        commands=app.release.commands or tuple(filter(None, [commands.get(RELEASE)])),
    )
    whole = replace(app, start=start, release=release, procfile=commands).with_processes(others)
    for name, process in whole.processes.items():
        if process.instances and not process.start:
            raise SourceError(
                f"How to start the process {name} of {app.name} is not known.",
                fact=f"Neither app.{app.name}.process.{name}.start nor a line `{name}:` of a Procfile says it.",
                cure=f'Write `start = "…"` in [app.{app.name}.process.{name}], or a line `{name}: …` in {where} of the '
                "repository; commit and push that.",
            )
    return whole


def with_command(host: Host, app: App, slot: SlotRecord) -> App:
    """`app` with the command that starts it. Raises as `with_procfile` does."""
    known = (app.start or app.is_contained) and all(one.start for one in app.processes.values())
    return app if known else with_procfile(host, app, slot)


def _read(host: Host, app: App, file: Path) -> Procfile | None:
    try:
        text = host.commands.text(file, user=app.user)
    except OSError as error:
        raise SourceError(f"{file} cannot be read.", fact=f"{error.strerror}.") from error
    return None if text is None else parse(text)
