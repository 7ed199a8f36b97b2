"""What an observation of SIGTERM means: one finding for each of the manners that zero downtime asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from substitute.core import cures
from substitute.core.sigterm import PROMPTLY

if TYPE_CHECKING:
    from substitute.core.sigterm import Observation


@dataclass(frozen=True)
class Finding:
    """What was found of one of the manners."""

    name: str
    promise: str
    """What is asked of the app."""
    passed: bool | None
    """None: it could not be tested, and `seen` says why."""
    seen: str
    cure: str = ""
    """The line that mends it; empty where nothing is to mend."""


@dataclass(frozen=True)
class Manners:
    """All of them."""

    platform: str
    """What the app runs on, as `cures.Platform` names it, or empty."""
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.passed is not False for finding in self.findings)

    @property
    def reason(self) -> str:
        """What is wrong, in one line."""
        return "; ".join(f"{one.name}: {one.seen}" for one in self.findings if one.passed is False)


def judge(seen: Observation) -> Manners:
    """Judge what was seen."""
    platform = _platform(seen)
    signal = _signal(seen)
    findings: tuple[Finding, ...] = (
        signal,
        _refuses(seen, cures.to_refuse(platform) if seen.exited is not None else cures.to_obey(platform)),
        _finishes(seen, cures.to_obey(platform), reached=bool(signal.passed)),
        _closes_idle(seen, cures.to_obey(platform)),
        _exits(seen, cures.to_obey(platform) if seen.refused is None else cures.to_end_in_time(platform)),
        _leaves_nobody(seen, cures.for_children()),
    )
    if not signal.passed:
        findings = (signal, *map(_after_the_first, findings[1:]))
    return Manners(platform, findings)


def _after_the_first(finding: Finding) -> Finding:
    """What is wrong where the signal does not arrive shows nothing of the app: one thing is to mend."""
    return replace(finding, cure="bring the signal to it first, as above") if finding.cure else finding


@dataclass(frozen=True)
class _Manner:
    name: str
    promise: str

    def good(self, seen: str) -> Finding:
        return Finding(self.name, self.promise, passed=True, seen=seen)

    def bad(self, seen: str, cure: str) -> Finding:
        return Finding(self.name, self.promise, passed=False, seen=seen, cure=cure)

    def untested(self, why: str) -> Finding:
        return Finding(self.name, self.promise, passed=None, seen=f"not tested: {why}")


_UNAVAILABLE = 503
"""What some servers answer where they break a request off because they stop."""
_NO_HTTP = "health.kind is tcp, so no HTTP is spoken"


def _signal(seen: Observation) -> Finding:
    manner = _Manner("signal", "SIGTERM reaches the process that listens")
    app = next((one for one in seen.listeners if one.process != seen.main.process), None)
    if app is None or seen.main in seen.listeners:
        return manner.good(f"{seen.main} listens itself")
    if app not in seen.survivors:
        return manner.good(f"{seen.main} passed it on to {app}")
    return manner.bad(
        f"{seen.main} got it; {app} listens, and was told nothing", cures.to_be_reached(seen.main, app)
    )


def _refuses(seen: Observation, cure: str) -> Finding:
    manner = _Manner("refuse", f"new connections are refused within {_time(PROMPTLY)}")
    if seen.refused is None:
        return manner.bad(f"still accepted {_after(seen.lasted)}", cure)
    if seen.refused > PROMPTLY:
        return manner.bad(f"refused only {_after(seen.refused)}", cure)
    return manner.good(f"refused {_after(seen.refused)}")


def _finishes(seen: Observation, cure: str, *, reached: bool) -> Finding:
    manner = _Manner("finish", "a running request is answered in full")
    asked = seen.request
    if why := _why_untested(seen, reached=reached):
        return manner.untested(why)
    assert asked is not None  # noqa: S101  # else it is untested
    what = f"{asked.method} {seen.path}, half sent at SIGTERM, was"
    if asked.heard.status == _UNAVAILABLE and not (seen.idle and seen.idle.before.status == _UNAVAILABLE):
        return manner.bad(f"{what} answered {_UNAVAILABLE}, {_after(asked.at)}", cures.for_slow_requests())
    if asked.heard.status:
        return manner.good(f"{what} answered in full: {asked.heard.status}, {_after(asked.at)}")
    told = f"{what} not answered within {_time(seen.lasted)}"
    if asked.heard.closed:
        told = f"{what} {asked.heard.closed} without a full answer {_after(asked.at)}"
    slow = (seen.lasted if asked.at is None else asked.at) > seen.hold + PROMPTLY
    return manner.bad(told, cures.for_slow_requests() if slow else cure)


def _why_untested(seen: Observation, *, reached: bool) -> str:
    """Why the request shows nothing, or empty."""
    asked = seen.request
    if asked is None:
        return _NO_HTTP
    if asked.before.status:
        return (
            f"{asked.method} {seen.path} is answered at once ({asked.before.status}), before its body comes"
        )
    if asked.before.closed:
        return f"{asked.method} {seen.path} with a body was {asked.before.closed} at once, without an answer"
    return "" if reached or not asked.heard.status else "the signal did not reach the app"


def _closes_idle(seen: Observation, cure: str) -> Finding:
    manner = _Manner("idle", "idle keep-alive connections are closed")
    idle = seen.idle
    if idle is None:
        return manner.untested(_NO_HTTP)
    if idle.before.status is None:
        return manner.untested(f"{idle.method} {seen.path} was not answered")
    if idle.before.closed:
        return manner.good("none is kept open")
    if idle.at is None:
        return manner.bad(f"still open {_after(seen.lasted if seen.overdue is None else seen.overdue)}", cure)
    return manner.good(f"closed {_after(idle.at)}")


def _exits(seen: Observation, cure: str) -> Finding:
    manner = _Manner("exit", f"it exits within stop.timeout, {_time(seen.limit)}")
    if seen.exited is None or seen.exited > seen.limit:
        return manner.bad(f"{seen.main} still ran {_after(seen.limit)}, and was killed", cure)
    return manner.good(f"{seen.main} exited {_after(seen.exited)}")


def _leaves_nobody(seen: Observation, cure: str) -> Finding:
    manner = _Manner("children", "no child survives it")
    if seen.exited is None:
        return manner.untested("it did not exit")
    if not seen.survivors:
        return manner.good("none did")
    names = ", ".join(map(str, seen.survivors))
    return manner.bad(f"{names} still ran {_time(seen.lasted - seen.exited)} after {seen.main}", cure)


def _platform(seen: Observation) -> str:
    """That of the process that listens, else of any."""
    known = (one.platform for one in (*seen.listeners, seen.main, *seen.members.values()))
    return next(filter(None, known), "")


def _after(moment: float | None) -> str:
    return f"{_time(moment or 0.0)} after SIGTERM"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
