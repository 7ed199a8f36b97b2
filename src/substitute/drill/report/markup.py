"""HTML and SVG as text that cannot be broken out of: what is no `Safe` is escaped."""

from __future__ import annotations

import html

_VOID = {"meta", "br", "hr"}


class Safe(str):
    """Markup, as opposed to text."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: object) -> Safe:
    """Return an element. A trailing underscore in an attribute's name is dropped, others become ``-``."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Safe(f"<{name}{given}>")
    return Safe(f"<{name}{given}>{join(*children)}</{name}>")


def join(*parts: str) -> Safe:
    """Put markup and text together."""
    return Safe("".join(part if isinstance(part, Safe) else html.escape(part) for part in parts))


def _short(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
