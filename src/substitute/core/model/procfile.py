"""A Procfile: the commands of an app by the types of its processes, as Heroku, foreman and honcho read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "Procfile"
WEB, RELEASE = "web", "release"
"""The types that have a meaning of their own; all others are processes beside `web`."""
_LINE = re.compile(r"(?P<type>[A-Za-z0-9_-]+):\s*(?P<command>\S[^\0]*)")


@dataclass(frozen=True)
class Procfile:
    """What one says."""

    commands: Mapping[str, str] = field(default_factory=dict)
    """One line of shell for each type, in their order."""
    problems: tuple[str, ...] = ()
    """Lines that say nothing, each as a sentence."""


def parse(text: str) -> Procfile:
    """Read lines ``type: command``; empty ones and comments are passed over. The last one of a type counts."""
    commands, problems = dict[str, str](), list[str]()
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            problems.append(f"line {number} is not of the form `type: command`")
            continue
        if found["type"] in commands:
            problems.append(f"line {number} says again what {found['type']} is, and counts")
        commands[found["type"]] = found["command"]
    return Procfile(commands, tuple(problems))
