"""Why an instance ended as soon as it was started, as far as its status and its own words show it."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.environment import instance_environment
from substitute.core.model.errors import NotReadyError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord

_LEFT = frozenset({".pid", ".sock", ".socket", ".lock", ".lck"})
"""What a program makes to say that it runs, and finds when it was killed the last time."""
_PATH = re.compile(r"[^\s'\"`()<>\[\],;:=]+")


@contextmanager
def explained(
    host: Host, app: App, slot: SlotRecord, caller: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Whatever is started in here and ends at once: its error names the cause where that shows, and the cure.

    `caller` is the environment of the command that deploys; without it, what the slot holds starts as it was proven.
    """
    try:
        yield
    except (NotReadyError, RuntimeFailedError) as error:
        fact, cure = _not_found(host, app, slot, caller, error) or _left(host, app, slot, error.fact)
        if fact:
            first, *more = error.fact.splitlines() or [""]
            error.fact = "\n".join([f"{first} {fact}", *more])
            error.cure = f"{cure} {error.cure}".strip()
        raise


def _not_found(
    host: Host,
    app: App,
    slot: SlotRecord,
    caller: Mapping[str, str] | None,
    error: NotReadyError | RuntimeFailedError,
) -> tuple[str, str] | None:
    """What the shell means by 126 and 127, and where it looked."""
    told = error.fact
    if caller is None:
        app, caller = host.proven(app, slot), host.environment(app, slot)
    command = error.command if isinstance(error, NotReadyError) and error.command else app.start
    if re.search(r"\bexit status 126\b", told):
        return (
            f"That means: a program was found and may not be executed. `start` is `{command}`.",
            "If it is a file of the repository, type `git update-index --chmod=+x FILE` there, commit and push.",
        )
    if not re.search(r"\bexit status 127\b", told):
        return None
    fact = f"That means: a program was not found. `start` is `{command}`."
    cure = "Install the program, correct `start`, or name the program with its whole path."
    path, other = instance_environment(app, slot, caller)["PATH"], _path_of_live(host, slot)
    if other and other != path:
        fact += f" PATH is {path}; the live version was started with {other}."
        cure += f" To use that PATH, add to [app.{app.name}.env]: PATH = {_toml(other)}"
    else:
        fact += f" PATH is {path}."
    return fact, cure


def _path_of_live(host: Host, slot: SlotRecord) -> str | None:
    live = host.journal.app(slot.app).live_slot
    if live is None or live.version is None or live.name is slot.name:
        return None
    return live.version.env.get("PATH") or live.version.caller.get("PATH")


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _left(host: Host, app: App, slot: SlotRecord, told: str) -> tuple[str, str]:
    """A file that an earlier run left in the slot, where the instance names it."""
    named = list(dict.fromkeys(_named(slot.directory, app.directory, told)))
    left = host.source(app).untracked(slot.directory, named) if named else []
    if not left:
        return "", ""
    files = " ".join(shlex.quote(str(slot.directory / name)) for name in left)
    fact = (
        f"It names {' and '.join(left)}, which no commit holds: an earlier run left it in slot {slot.name}."
    )
    cure = f"If nothing uses it, type `rm {files}` and try again."
    return fact, f"{cure} If it comes back with each run, let a hook pre_start remove it (docs/hooks.md)."


def _named(directory: Path, inside: str, told: str) -> Iterator[str]:
    """The files below `directory` that a program's last words name and that look as if a running one had made them."""
    quoted = "\n".join(line for line in told.splitlines() if line.startswith("  | "))
    for word in _PATH.findall(quoted):
        path = Path(word.rstrip("."))
        if path.suffix not in _LEFT or ".." in path.parts:
            continue
        if not path.is_absolute():
            yield str(Path(inside, path))
        for place in {directory, directory.resolve()}:
            if path.is_absolute() and path.is_relative_to(place):
                yield str(path.relative_to(place))
                break
