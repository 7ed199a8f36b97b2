"""Words and numbers as people read them."""

from __future__ import annotations

import re

_SEQUENCE = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
"""Colours, cursor movements, window titles."""
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
"""What a terminal obeys, and what reorders the text around it. A tab is harmless."""


def harmless(text: str) -> str:
    """Take from `text` its power over a terminal: no colours or movements; other controls shown as ``^[``."""
    return text if text.isprintable() else re.sub(_CONTROL, _show, re.sub(_SEQUENCE, "", text))


def _show(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x80:
        return f"^{chr(code ^ 0x40)}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def short(commit: str | None) -> str:
    """Return the first ten characters of a commit, or ``-``."""
    return commit[:10] if commit else "-"


def seconds(value: float) -> str:
    """Format a duration: ``4 ms``, ``2.5 s``, ``2 m 05 s``, ``3 h 20 m``, ``4 d 2 h``."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def count(number: int, noun: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
