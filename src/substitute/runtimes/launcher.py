"""The small script that turns into an instance: it sets the environment and the log, and gets out of the way."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from substitute.core.errors import RuntimeFailedError

if TYPE_CHECKING:
    from substitute.core.ports import Program

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SHELL_WORDS = frozenset(
    "! { } case do done elif else esac fi for function if in select then time until while . : alias bg break cd "  # noqa: SIM905
    "command continue eval exec exit export fc fg getopts hash jobs local readonly return set shift source times "
    "trap type ulimit umask unalias unset wait".split()
)
"""Reserved words and builtins, which cannot be exec'ed."""


def is_simple(command: str) -> bool:
    """Whether `command` is one simple command, so that it can replace the shell and get the signals itself."""
    if "\n" in command.strip() or "`" in command or "$(" in command:
        return False
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return False
    program = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    separated = any(set(word) <= set(";&|()") and word for word in words)
    return bool(program) and not separated and program not in _SHELL_WORDS


def render(program: Program) -> str:
    """The script's text. Values are carried faithfully: spaces, quotes, ``%``, ``$``, newlines, UTF-8.

    Raises RuntimeFailedError for a name that no shell can export, and for a NUL.
    """
    lines = ["#!/bin/sh", "unset SUPERVISOR_ENABLED SUPERVISOR_PROCESS_NAME SUPERVISOR_GROUP_NAME"]
    lines += ["unset SUPERVISOR_SERVER_URL"]
    for name, value in program.environment.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
        lines.append(f"export {name}={shlex.quote(value)}")
    lines.append(f"cd {shlex.quote(str(program.directory))} || exit 126")
    # Set before the directory's own output can go anywhere else; the file belongs to the instance, no pipe does.
    lines.append(f"exec </dev/null >>{shlex.quote(str(program.log))} 2>&1")
    lines.append(_command(program.command))
    return "\n".join(lines) + "\n"


def _command(command: str) -> str:
    if not is_simple(command):
        return command
    # `exec A=b program` would set the variable and lose the program: env carries leading assignments.
    return f"exec env {command}" if _ASSIGNMENT.match(command.lstrip()) else f"exec {command}"
