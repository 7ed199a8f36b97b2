"""A crontab's text with a line of ours in it, or without. crontab(5)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.autostart.command import Command


def with_line(text: str, command: Command, mark: str, log: str) -> str:
    """`text` with the line that runs `command` at boot. Raises UsageError for a path that no crontab can carry."""
    words = ["env", f"PATH={command.path}", *command.argv("up")]
    line = f"{shlex.join(words)} >>{shlex.quote(log)} 2>&1"
    if "\n" in line:
        raise UsageError("A path with a newline in it cannot stand in a crontab.")
    # An unescaped "%" is a newline there.
    ours = f"@reboot {line.replace('%', chr(92) + '%')} {_comment(mark)}"
    return "".join(f"{line}\n" for line in [*_others(text, mark), ours])


def without_line(text: str, mark: str) -> str:
    """`text` without the line of that mark."""
    return "".join(f"{line}\n" for line in _others(text, mark))


def has_line(text: str, mark: str) -> bool:
    """Whether `text` has the line of that mark."""
    return any(line.endswith(_comment(mark)) and not line.startswith("#") for line in text.splitlines())


def _others(text: str, mark: str) -> Iterator[str]:
    return (line for line in text.splitlines() if not line.endswith(_comment(mark)))


def _comment(mark: str) -> str:
    # The shell that cron starts takes it for a comment.
    return f"# substitute {mark}"
