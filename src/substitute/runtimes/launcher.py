"""The small script that turns into an instance: it sets the environment and the log, and gets out of the way."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from substitute.core.command_line import begins_with_assignment, is_simple
from substitute.core.errors import RuntimeFailedError

if TYPE_CHECKING:
    from substitute.accounts import Account
    from substitute.core.ports import Program

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def render(program: Program, become: Account | None = None) -> str:
    """The script's text; `become` is whom it turns into before the command.

    Values are carried faithfully: spaces, quotes, ``%``, ``$``, newlines, UTF-8.

    Raises RuntimeFailedError for a name that no shell can export, and for a NUL.
    """
    lines = ["#!/bin/sh", "unset SUPERVISOR_ENABLED SUPERVISOR_PROCESS_NAME SUPERVISOR_GROUP_NAME"]
    lines += ["unset SUPERVISOR_SERVER_URL"]
    environment = {**(become.environment if become else {}), **program.environment}
    for name, value in environment.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
        lines.append(f"export {name}={shlex.quote(value)}")
    lines.append(f"cd {shlex.quote(str(program.directory))} || exit 126")
    # Set before the directory's own output can go anywhere else; the file belongs to the instance, no pipe does.
    lines.append(f"exec </dev/null >>{shlex.quote(str(program.log))} 2>&1")
    command = _command(program.command)
    if become and become.is_another:
        switch = f"--reuid={become.uid} --regid={become.gid} --init-groups"
        command = f"exec setpriv {switch} -- /bin/sh -c {shlex.quote(command)}"
    lines.append(command)
    return "\n".join(lines) + "\n"


def _command(command: str) -> str:
    if not is_simple(command):
        return command
    # `exec A=b program` would set the variable and lose the program: env carries leading assignments.
    return f"exec env {command}" if begins_with_assignment(command) else f"exec {command}"
