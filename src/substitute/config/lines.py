"""Where in a TOML text a key stands; tomllib does not say."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[str, ...]

_TOO_LONG = 100_000
"""Characters. A statement of many lines is parsed once a line, so a huge text would take long."""


def line_numbers(text: str) -> Mapping[Path, int]:
    """The line on which each table and key of a valid TOML `text` begins; empty where it is huge."""
    found: dict[Path, int] = {}
    if len(text) > _TOO_LONG:
        return found
    table: Path = ()
    for number, statement in _statements(text):
        paths = list(_paths(tomllib.loads(statement)))
        if statement.lstrip().startswith("["):
            table = paths[-1]
            paths = [table[:end] for end in range(1, len(table) + 1)]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            found.setdefault(path, number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Cut `text` into the shortest pieces that parse: each is a header or a key with its value."""
    begin, piece = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        piece += f"{line}\n"
        try:
            empty = not tomllib.loads(piece)
        except ValueError:
            continue  # the value goes on in the next line
        if not empty:
            yield begin, piece
        begin, piece = number + 1, ""


def _paths(table: Mapping[str, object]) -> Iterator[Path]:
    for name, value in table.items():
        yield (name,)
        inner = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        if isinstance(inner, dict):
            yield from ((name, *path) for path in _paths(inner))
