"""What systemd is told of a program: the text of its unit and of its environment file. Nothing here executes."""

from __future__ import annotations

import os
import re
import shlex
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import ConfigError, RuntimeFailedError
from substitute.core.model.programs import Protection
from substitute.io.files import read_regular
from substitute.linux.programs import find_program
from substitute.linux.root_names import prefix_of
from substitute.linux.users import account, acting_as
from substitute.runtimes.command_line import begins_with_assignment, is_simple
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from substitute.core.model.programs import Limits, Program

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 1 << 19
"""Bytes of a value or of a command. A line of a unit may have a megabyte, and a quoted byte takes four."""
_BY_THE_SHELL = frozenset("$`*?[]{}~<>#!")
"""Where one of these is in a command, it may mean something to the shell."""
_BACKOFF_SINCE = 254

_SYSTEM = {
    Protection.NO_NEW_PRIVILEGES: ("NoNewPrivileges=yes", "RestrictSUIDSGID=yes"),
    Protection.PROTECT_SYSTEM: ("ProtectSystem=full",),
    Protection.PROTECT_KERNEL: (
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
    ),
    Protection.PRIVATE_TMP: ("PrivateTmp=yes",),
    Protection.PRIVATE_DEVICES: (
        "PrivateDevices=yes",
        "ProtectClock=yes",
    ),  # the latter shuts devices out as well
    Protection.RESTRICT_NAMESPACES: ("RestrictNamespaces=yes",),
    Protection.RESTRICT_CALLS: (
        "SystemCallArchitectures=native",
        "LockPersonality=yes",
        "RestrictRealtime=yes",
    ),
}
"""The lines of each protection. docs/systemd.md says why each is on."""
_USER = (Protection.NO_NEW_PRIVILEGES, Protection.RESTRICT_NAMESPACES, Protection.RESTRICT_CALLS)
"""What a user's own manager can do: filters, but no mounts."""
_SHARED_TMP = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  # nosec B108
"""What PrivateTmp hides."""
_READ_ONLY = (Path("/usr"), Path("/etc"), Path("/boot"))
"""What ProtectSystem=full makes read-only."""


@dataclass(frozen=True)
class Names:
    """What the units of a root are called: with its path's hash, so that no two roots collide."""

    root: Path

    @cached_property
    def prefix(self) -> str:
        """``substitute-1a2b3c4d``."""
        return prefix_of(self.root)

    @property
    def slice(self) -> str:
        """The slice that holds all of the root."""
        return f"{self.prefix}.slice"

    def service(self, name: str) -> str:
        """The unit of the program `name`."""
        return f"{self.prefix}-{name}.service"

    def scope(self, app: str, number: int | str) -> str:
        """The scope of a command of a build of `app`; no app's name has a ``_``."""
        return f"{self.prefix}-{app}_build_{number}.scope"


@dataclass(frozen=True)
class Manager:
    """The systemd that is written for."""

    user: bool
    """A user's own, not the system's."""
    version: int
    inherited: Collection[str] = ()
    """The variables that it gives to every service."""


def render_slice(root: Path) -> str:
    """The unit of a root's slice."""
    return f"[Unit]\nDescription=substitute in {_escaped(str(root))}\nIgnoreOnIsolate=yes\n"


def render(program: Program, names: Names, manager: Manager, environment_file: Path) -> str:
    """The unit of `program`. Raises RuntimeFailedError for what no unit can carry."""
    return "\n".join(
        [
            f"# Written by substitute for {_escaped(str(names.root))}; changes are lost at its next start.",
            "[Unit]",
            f"Description={_escaped(program.name)} of {_escaped(str(names.root))}",
            "IgnoreOnIsolate=yes",
            *_restart_limit(manager),
            "",
            "[Service]",
            f"Type={'notify' if program.notifies else 'exec'}",
            *(["NotifyAccess=all"] if program.notifies else []),
            f"Slice={names.slice}",
            f"WorkingDirectory={_path(program.directory)}",
            f"EnvironmentFile={_path(environment_file)}",
            *_unset(program, manager),
            f"ExecStart={_command(program)}",
            *([f"ExecStop=-:{' '.join(map(_quoted, program.stop_command))}"] if program.stop_command else []),
            *(["Delegate=yes"] if program.delegates else []),
            *([f"User={_escaped(program.user)}"] if program.user else []),
            "",
            *_restart(manager),
            "TimeoutStartSec=infinity",
            f"KillMode={'process' if program.outlived else 'mixed'}",
            f"KillSignal={program.stop_signal}",
            f"TimeoutStopSec={_span(program.stop_timeout)}",
            "UMask=0022",
            "",
            "StandardInput=null",
            "StandardOutput=journal",
            "StandardError=inherit",
            f"SyslogIdentifier={names.service(program.name) if manager.user else _escaped(program.name)}",
            "LogRateLimitIntervalSec=0",
            *(f"LogExtraFields={_quoted(f'{key}={value}')}" for key, value in program.fields.items()),
            "",
            *_limits(program.limits),
            *_sandbox(program, names.root, manager),
            "",
        ]
    )


def render_environment(environment: Mapping[str, str]) -> str:
    """The environment file. Values are carried faithfully: spaces, quotes, ``%``, ``$``, newlines, UTF-8.

    Raises RuntimeFailedError for what systemd would pass over: a name that no shell can export, a value that is not
    UTF-8 or holds a NUL.
    """
    lines = []
    for name, value in environment.items():
        if not _NAME.fullmatch(name) or not _is_text(value) or any(map(_is_noncharacter, value)):
            raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
        escaped = re.sub(r'([\\"$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def _restart_limit(manager: Manager) -> Iterator[str]:
    """Where systemd can wait longer each time, it tries for ever; else a crash at every start is given up at last."""
    if manager.version >= _BACKOFF_SINCE:
        yield "StartLimitIntervalSec=0"
    else:
        yield from ("StartLimitIntervalSec=10min", "StartLimitBurst=1000")


def _restart(manager: Manager) -> Iterator[str]:
    yield from ("Restart=always", "RestartSec=200ms")
    if manager.version >= _BACKOFF_SINCE:
        yield from ("RestartSteps=10", "RestartMaxDelaySec=30s")


def _span(seconds: float) -> str:
    """A time as systemd reads it, which takes 0 for no limit at all."""
    return (
        f"{seconds:.0f}s"
        if seconds >= 1 and seconds == round(seconds)
        else f"{max(1, round(seconds * 1000))}ms"
    )


def _unset(program: Program, manager: Manager) -> Iterator[str]:
    """A program's environment is the whole of it."""
    foreign = sorted(
        name for name in manager.inherited if name not in program.environment and _NAME.fullmatch(name)
    )
    if foreign:
        yield f"UnsetEnvironment={' '.join(foreign)}"


def _command(program: Program) -> str:
    """The command without a shell where it needs none. `:` keeps systemd from expanding ``$``."""
    if not _is_text(program.command):
        raise RuntimeFailedError(
            "The command cannot be carried: it is not UTF-8, holds a NUL, or is too long."
        )
    words = _words(program)
    if words:
        binary, *arguments = words
        return " ".join(["@:" + _quoted(binary), *map(_quoted, arguments)])
    command = program.command
    if is_simple(command):
        command = f"exec env {command}" if begins_with_assignment(command) else f"exec {command}"
    return " ".join([':"/bin/sh" "-c"', _quoted(command)])


def _words(program: Program) -> list[str]:
    """The file to execute, argv[0] and the arguments; empty where it takes a shell to find them out."""
    command = program.command.strip()
    if not is_simple(command) or begins_with_assignment(command) or _BY_THE_SHELL & set(command):
        return []
    words = shlex.split(command)
    if "/" in words[0]:
        binary: str | None = str(program.directory / words[0])
    else:
        places = (str(program.directory / place) for place in _path_of(program))
        binary = find_program(words[0], path=":".join(places))
    return [binary, *words] if binary and _is_executable(Path(binary), program.user) else []


def _is_executable(binary: Path, user: str | None) -> bool:
    """Whether the kernel can run it; a script without a first line of its own is for the shell.

    It may be a file of the app's, so it is looked at as its user does.
    """
    try:
        with acting_as(account(user)):
            begins = read_regular(binary, limit=2)
            return begins in {b"#!", b"\x7fE"} and os.access(binary, os.X_OK)
    except (OSError, ConfigError):  # a user that can't be become is systemd's to refuse
        return False


def _limits(limits: Limits) -> Iterator[str]:
    if limits.memory is not None:
        yield f"MemoryMax={limits.memory}"
        yield "MemorySwapMax=0"
    if limits.cpu is not None:
        yield f"CPUQuota={limits.cpu * 100:.0f}%"
    if limits.tasks is not None:
        yield f"TasksMax={limits.tasks}"
    if limits.nofile is not None:
        yield f"LimitNOFILE={limits.nofile}"


def _sandbox(program: Program, root: Path, manager: Manager) -> Iterator[str]:
    possible = _USER if manager.user else tuple(_SYSTEM)
    for protection in possible:
        if protection not in program.protections:
            continue
        if protection is Protection.PRIVATE_TMP and _needs_tmp(program, root):
            continue  # the program itself would be hidden
        yield from _SYSTEM[protection]
        if protection is Protection.PROTECT_SYSTEM and _lies_in(root, _READ_ONLY):
            yield f"ReadWritePaths={_quoted('-' + str(root))}"


def _needs_tmp(program: Program, root: Path) -> bool:
    """Whether it lies in /tmp: its root, its directory, the program that it begins with, or one of its PATH."""
    first = program.command.split(maxsplit=1)[:1]
    places = [root, program.directory, *map(Path, first), *map(Path, _path_of(program))]
    return any(place.is_absolute() and _lies_in(place, _SHARED_TMP) for place in places)


def _path_of(program: Program) -> list[str]:
    return program.environment.get("PATH", "").split(":")


def _lies_in(path: Path, parents: Collection[Path]) -> bool:
    # Both where it is said to be and where it is: the python of a virtual environment is a link out of it.
    return any(place.is_relative_to(parent) for parent in parents for place in (path, path.resolve()))


def _is_text(value: str) -> bool:
    try:
        return "\0" not in value and len(value.encode()) <= _LONGEST
    except UnicodeEncodeError:
        return False


def _path(path: Path) -> str:
    """A path that is the rest of its line, as it is but for specifiers."""
    text = str(path)
    if not _is_text(text) or not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise RuntimeFailedError(f"systemd cannot carry the path {text!r}.", cure="Give it another name.")
    return _escaped(text)


def _escaped(text: str) -> str:
    """Plain text on the right of a `=`."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("%", "%%").rstrip("\\")


def _quoted(text: str) -> str:
    r"""One word of a list or of a command: in quotes, with ``%`` doubled and what is not printable as ``\xNN``."""
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c == "%":
        return "%%"
    plain = c >= " " and c != "\x7f" and not _is_noncharacter(c)
    return c if plain else "".join(f"\\x{byte:02x}" for byte in c.encode())


def _is_noncharacter(c: str) -> bool:
    """Whether Unicode promises never to give it a meaning; to systemd it is not UTF-8 then."""
    return ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF
