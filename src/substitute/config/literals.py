"""Values as TOML writes them, for the printed configuration, the documentation and messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_BARE_KEY = r"[A-Za-z0-9_-]+"


def quote(text: str) -> str:
    """A TOML basic string. What a terminal would obey instead of show is escaped."""
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04X}" if ord(c) <= 0xFFFF else f"\\U{ord(c):08X}"
        for c in json.dumps(text, ensure_ascii=False)
    )


def key(name: str) -> str:
    """A TOML key, bare where it may be."""
    return name if re.fullmatch(_BARE_KEY, name) else quote(name)


def literal(value: object) -> str:
    """A TOML value on one line."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key(str(name))} = {literal(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(literal, value))}]"
    return str(value)


def shown(value: object) -> str:
    """`value` for a message: its kind where that says enough, shortened where it is long."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (Mapping, list, tuple)) for item in value):
            return "a nested list"
        return _shortened(f"[{', '.join(map(shown, value[:8]))}{', …' if len(value) > 8 else ''}]")
    if isinstance(value, str):
        return _shortened(quote(without_password(value)))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return "a number beyond 64 bits"  # Python refuses to print a very long one
    return _shortened(literal(value))


def kind(value: object) -> str:
    """What sort of value it is, for a message that must not show it."""
    for types, words in (
        (bool, "true or false without quotes"),
        ((int, float), "a number without quotes"),
        (str, "text"),
        ((list, tuple), "a list"),
        (Mapping, "a table"),
    ):
        if isinstance(value, types):
            return words
    return "a date or time without quotes"


def without_password(url: str) -> str:
    """`url` with the password in ``scheme://user:password@host`` hidden, and a lone token too."""
    return re.sub(r"(?<=://)([^/@\s:]*)(:[^/@\s]*)?@", _hidden, url)


def _hidden(match: re.Match[str]) -> str:
    user, password = match.groups()
    # Forges take a token alone as the user; `git` is the name that everybody has.
    return f"{user}:***@" if password else "git@" if user == "git" else "***@"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
