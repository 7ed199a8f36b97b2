"""The small script that turns into an instance: it sets the environment and the log, and gets out of the way."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Process
from substitute.linux.programs import find_program
from substitute.runtimes.command_line import begins_with_assignment, is_simple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.programs import Program
    from substitute.linux.users import Account

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_CALLED = "start"
"""What the shell calls itself in its messages: the key that holds the command, not a file that nobody has written."""
_SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the machine's own programs are, whatever PATH anybody has set."""

_NOTE = (
    "{{ umask 077; read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat "
    "&& printf '%s\\n' \"$boot $stat\" >{file}; umask 022; }} 2>/dev/null"
)
"""By the shell itself, which becomes the program: nobody else could say for sure which process that is."""
_NOTED = r"(\S+) (\d+) \(.*\)(?: \S+){19} (\d+) "
"""The boot, and of /proc/PID/stat the pid and the time of the start."""


def render(program: Program, become: Account | None = None, *, note: str = "") -> str:
    """The script's text; `become` is whom it turns into before anything of the app's is looked at.

    In the file `note` of the directory that it is started in, it notes which process it is, and so the program too.
    Values are carried faithfully: spaces, quotes, ``%``, ``$``, newlines, UTF-8.

    Raises RuntimeFailedError for a name that no shell can export, and for a NUL.
    """
    environment = {**(become.environment if become else {}), **program.environment}
    for name, value in environment.items():
        if not re.fullmatch(_NAME, name) or "\0" in value:
            raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
    lines = ["#!/bin/sh", "unset SUPERVISOR_ENABLED SUPERVISOR_PROCESS_NAME SUPERVISOR_GROUP_NAME"]
    lines += ["unset SUPERVISOR_SERVER_URL"]
    if note:
        lines += [_NOTE.format(file=shlex.quote(f"./{note}")), "unset boot stat"]
    # Before anything of its own can go anywhere else; the file belongs to the instance, no pipe does.
    lines.append(f"exec </dev/null >>{shlex.quote(str(program.log))} 2>&1")
    begin = [f"cd {shlex.quote(str(program.directory))} || exit 126"]
    if become and become.is_another:
        lines += _switched(environment, [*begin, _command(program.command)], become)
    else:
        lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        lines += [*begin, f"exec /bin/sh -c {shlex.quote(_command(program.command))} {_CALLED}"]
    return "\n".join(lines) + "\n"


def noted(file: Path) -> Process | None:
    """Which process a script of `render` last became, whether or not that still runs."""
    try:
        found = re.match(_NOTED, file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return Process(int(found[2]), int(found[3]), found[1]) if found else None


def _switched(environment: Mapping[str, str], begin: list[str], become: Account) -> list[str]:
    """As root nothing but setpriv runs, by its absolute name; what PATH and LD_PRELOAD say is the app's user's alone.

    Until then the values have names that mean nothing to anybody. A command line would show them to all users.
    """
    inert = {name: f"SUBSTITUTE_{number}" for number, name in enumerate(environment)}
    carried = [f"export {inert[name]}={shlex.quote(value)}" for name, value in environment.items()]
    renamed = [f'export {name}="${inert[name]}"; unset {inert[name]}' for name in environment]
    switch = f"--reuid={become.uid} --regid={become.gid} --init-groups"
    script = "\n".join([*renamed, *begin])
    return [
        *carried,
        f"exec {shlex.quote(_setpriv())} {switch} -- /bin/sh -c {shlex.quote(script)} {_CALLED}",
    ]


def _setpriv() -> str:
    found = find_program("setpriv", path=_SYSTEM)
    if found is None:
        raise RuntimeFailedError(
            "No app can run as a user of its own here: there is no setpriv.",
            fact=f"It was looked for in {_SYSTEM}.",
            cure="Install it (`apt install util-linux`), or remove the key user of the app.",
        )
    return found


def _command(command: str) -> str:
    if not is_simple(command):
        return command
    # `exec A=b program` would set the variable and lose the program: env carries leading assignments.
    return f"exec env {command}" if begins_with_assignment(command) else f"exec {command}"
