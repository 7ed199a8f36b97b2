"""One finding of a check, and the words of all of them."""

from __future__ import annotations

from substitute.core.model.programs import SIGTERM
from substitute.values import dataclass

NO_HTTP = "health.kind is tcp, so no HTTP is spoken"


@dataclass(frozen=True)
class Finding:
    """What was found of one of the requirements."""

    name: str
    promise: str
    """What is asked of the app."""
    passed: bool | None
    """None: it is not proven, and `seen` says why."""
    seen: str
    cure: str = ""
    """What mends it, or what proves it; empty where there is nothing to do."""


@dataclass(frozen=True)
class Requirement:
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


def span(seconds: float) -> str:
    """As people read it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


@dataclass(frozen=True)
class ShutdownReport:
    """All of them."""

    platform: str
    """What the app runs on, as `advice.Platform` names it, or empty."""
    findings: tuple[Finding, ...]
    signal: str = SIGTERM
    """By which it was told to stop."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, as far as was seen."""
        return all(finding.passed is not False for finding in self.findings)

    @property
    def proven(self) -> bool:
        """Whether everything was seen to be right."""
        return all(finding.passed for finding in self.findings)

    @property
    def result(self) -> str:
        """``passed``, ``failed`` or ``not proven``."""
        return "passed" if self.proven else "not proven" if self.passed else "failed"

    @property
    def reason(self) -> str:
        """What is wrong, else what is not proven, in one line."""
        worst = False if not self.passed else None
        return "; ".join(f"{one.name}: {one.seen}" for one in self.findings if one.passed is worst)
