"""What a process runs on, as far as its command line and its file show it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from substitute.core.advice import SCRIPT_RUNNERS, SHELLS, Platform
from substitute.linux import processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.programs import Process

_GO_MARK = b"\xff Go buildinf:"
"""Written into every Go program by its linker."""
_BY_PROGRAM = {
    "node": Platform.NODE,
    "nodejs": Platform.NODE,
    "java": Platform.JAVA,
}
_SHELLS = frozenset({"sh", "dash", "bash"})
_SCRIPTS = (Platform.GUNICORN, Platform.UVICORN, Platform.PUMA, Platform.UNICORN, Platform.PHP_FPM)
"""Found in any word: ``python3 /venv/bin/gunicorn``, ``python -m uvicorn``, ``puma: cluster worker 0``."""

_LOOKED_AT = 6
"""Words: what comes later are the app's own arguments."""


@lru_cache(maxsize=256)
def recognize(process: Process) -> str:
    """One of `core.advice.Platform`, or empty. It is looked at once: a program's file may be large."""
    return named(_words(process.pid)) or (Platform.GO if _is_go(process.pid) else "")


def called(pid: int) -> tuple[str, bool]:
    """What `pid` is called in a message, and whether that is a title which it gave itself, and no program."""
    name, program = processes.name(pid), processes.program(pid)
    runner = runner_of(_words(pid))
    if runner:
        return runner, False
    alike = not program or name in SHELLS or program.startswith(name) or name.startswith(program)
    return name, not alike


def runner_of(words: Sequence[str]) -> str:
    """Which of `core.advice.SCRIPT_RUNNERS` a command line runs (``node /usr/bin/yarn start``), or empty."""
    stems = (os.path.basename(word).partition(".")[0] for word in words[:2])  # noqa: PTH119
    return next((stem for stem in stems if stem in SCRIPT_RUNNERS), "")


def named(words: Sequence[str]) -> str:
    """What a command line says, or empty."""
    names = [os.path.basename(word) for word in words[:_LOOKED_AT]]  # noqa: PTH119  # no path objects for words
    if names and names[0] in _SHELLS:  # what it is to run is a process of its own
        return ""
    for platform in _SCRIPTS:
        if any(re.match(rf"{platform}(?![a-z])", name) for name in names):
            return platform
    return _BY_PROGRAM.get(names[0], "") if names else ""


def _words(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            text = file.read(4096).decode(errors="replace")
    except OSError:
        return []
    return [word for word in re.split(r"[\0 ]", text) if word]


def _is_go(pid: int) -> bool:
    import mmap  # noqa: PLC0415  only where an advice depends on it

    with (
        suppress(OSError, ValueError),
        open(f"/proc/{pid}/exe", "rb") as program,  # noqa: PTH123
        mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(_GO_MARK) >= 0
    return False
