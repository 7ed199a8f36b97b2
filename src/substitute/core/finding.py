"""One finding of a check, and the words of all of them."""

from __future__ import annotations

from dataclasses import dataclass

NO_HTTP = "health.kind is tcp, so no HTTP is spoken"


@dataclass(frozen=True)
class Finding:
    """What was found of one of the manners."""

    name: str
    promise: str
    """What is asked of the app."""
    passed: bool | None
    """None: it is not proven, and `seen` says why."""
    seen: str
    cure: str = ""
    """What mends it, or what proves it; empty where there is nothing to do."""


@dataclass(frozen=True)
class Manner:
    """One of those that zero downtime asks for."""

    name: str
    promise: str

    def good(self, seen: str) -> Finding:
        """It was seen."""
        return Finding(self.name, self.promise, passed=True, seen=seen)

    def bad(self, seen: str, cure: str) -> Finding:
        """The contrary was seen."""
        return Finding(self.name, self.promise, passed=False, seen=seen, cure=cure)

    def unproven(self, why: str, cure: str = "") -> Finding:
        """Neither was seen."""
        return Finding(self.name, self.promise, passed=None, seen=f"not proven: {why}", cure=cure)


def after(moment: float | None) -> str:
    """When it was."""
    return f"{span(moment or 0.0)} after SIGTERM"


def span(seconds: float) -> str:
    """As people read it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
