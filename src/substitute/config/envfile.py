"""`env_file`: KEY=VALUE lines, which may hold secrets. No message ever shows a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.io.files import read_regular
from substitute.linux.owner import stranger_on
from substitute.linux.users import acting_as
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_LINE = rf"(?:export[ \t]+)?(?P<name>{NAME})[ \t]*=[ \t]*(?P<value>.*)"
_QUOTED = r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)')[ \t]*(?:\#.*)?"""
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}
_SET_BY_US = ("PORT", "HOST", "BIND")


@dataclass(frozen=True)
class EnvFile:
    """The path as it was written, and the variables that the file sets."""

    path: str
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets
    problem: str = ""
    """Why it cannot be used, where that is tolerated: then what it sets is not known."""


class EnvFileError(ValueError):
    """The file cannot be used; `problems` are pairs of line number (or None) and sentence."""

    def __init__(self, problems: tuple[tuple[int | None, str], ...]) -> None:
        super().__init__("; ".join(sentence for _, sentence in problems))
        self.problems = problems


def reserved(name: str) -> str | None:
    """Why an app's environment may not set `name`, or None."""
    if name in _SET_BY_US or name.startswith("SUBSTITUTE_"):
        source = "from `ports` and `host`" if name in _SET_BY_US else "itself"
        return f"{name} may not be set: substitute sets it {source}"
    return None


def read_env_file(file: Path, root: Path) -> dict[str, str]:
    """Read the variables of `file`; one that lies in a slot as the user whose the slot is, who may have made it a link.

    Raises EnvFileError with every problem.
    """
    try:
        with acting_as(stranger_on(file, root)):
            if not file.exists():
                raise EnvFileError(((None, "there is no such file"),))
            if not file.is_file():
                raise EnvFileError(((None, "it is not a regular file"),))
            text = read_regular(file).decode("utf-8-sig")
    except OSError as error:
        raise EnvFileError(((None, f"it cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise EnvFileError(((line, "not UTF-8 text"),)) from None
    return parse_env(text)


def parse_env(text: str) -> dict[str, str]:
    """Read KEY=VALUE lines; the last of several with one name counts. Nothing is expanded.

    Raises EnvFileError with every problem.
    """
    values: dict[str, str] = {}
    problems: list[tuple[int | None, str]] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        try:
            name, value = _assignment(line)
        except ValueError as error:
            problems.append((number, str(error)))
        else:
            values[name] = value
    if problems:
        raise EnvFileError(tuple(problems))
    return values


def _assignment(line: str) -> tuple[str, str]:
    match = re.fullmatch(_LINE, line, re.DOTALL)
    if not match:
        # The line is not shown, not even up to its "=": it may be a piece of a wrapped key.
        raise ValueError("expected KEY=VALUE, with a KEY of letters, digits and _")
    if "\0" in line:
        raise ValueError(f"the value of {match['name']} holds a NUL byte")
    if why := reserved(match["name"]):
        raise ValueError(why)
    return match["name"], _value(match["name"], match["value"])


def _value(name: str, text: str) -> str:
    if not text.startswith(('"', "'")):
        return re.split(r"(?:^|[ \t]+)#", text, maxsplit=1)[0]
    match = re.fullmatch(_QUOTED, text, re.DOTALL)
    if not match:
        raise ValueError(
            f'the quotes of {name} do not close at the end of the line (a line break in "…" is written \\n)'
        )
    if match["single"] is not None:
        return match["single"]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), match["double"], flags=re.DOTALL)
