"""What an observation of SIGTERM means: one finding for each of the manners that zero downtime asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from substitute.core import cures
from substitute.core.ports import Hold
from substitute.core.sigterm import PROMPTLY
from substitute.core.wrappers import barrier

if TYPE_CHECKING:
    from substitute.core.sigterm import Exchange, Observation


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
class Manners:
    """All of them."""

    platform: str
    """What the app runs on, as `cures.Platform` names it, or empty."""
    findings: tuple[Finding, ...]

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


def judge(seen: Observation) -> Manners:
    """Judge what was seen."""
    platform = _platform(seen)
    signal = _signal(seen)
    findings: tuple[Finding, ...] = (
        signal,
        _refuses(seen, cures.to_refuse(platform) if seen.exited is not None else cures.to_obey(platform)),
        _finishes(seen, platform, reached=bool(signal.passed)),
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

    def unproven(self, why: str, cure: str = "") -> Finding:
        return Finding(self.name, self.promise, passed=None, seen=f"not proven: {why}", cure=cure)


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
    found = barrier(seen.members.values(), seen.main.process)
    keeper = found.keeper if found else seen.main
    return manner.bad(
        f"{seen.main} got it; {app} listens, and was told nothing", cures.to_be_reached(seen.main, keeper)
    )


def _refuses(seen: Observation, cure: str) -> Finding:
    manner = _Manner("refuse", f"new connections are refused within {_time(PROMPTLY)}")
    if seen.refused is None:
        return manner.bad(f"still accepted {_after(seen.lasted)}", cure)
    if seen.refused > PROMPTLY:
        return manner.bad(f"refused only {_after(seen.refused)}", cure)
    return manner.good(f"refused {_after(seen.refused)}")


def _finishes(seen: Observation, platform: str, *, reached: bool) -> Finding:
    manner = _Manner("finish", "a running request is answered in full")
    if not seen.requests:
        return manner.unproven(_NO_HTTP, cures.to_prove(seen.app))
    found = [_finish(manner, seen, asked, platform, reached=reached) for asked in seen.requests]
    worst = [one for one in found if one.passed is False] or [one for one in found if one.passed is None]
    told = worst or found
    together = replace(
        told[0],
        seen="; ".join(one.seen for one in told),
        cure="; ".join(dict.fromkeys(one.cure for one in told if one.cure)),
    )
    if together.passed is None and _is_ended_by_the_kernel(seen):
        return manner.bad(
            f"{seen.main} has no handler for SIGTERM, which ends it in the middle of anything",
            cures.to_obey(platform),
        )
    return together


def _is_ended_by_the_kernel(seen: Observation) -> bool:
    """Whether SIGTERM ends all that answers requests without a word of the app's."""
    alone = seen.listeners == [seen.main]
    return alone and not seen.main.handles_sigterm and seen.exited is not None


def _finish(manner: _Manner, seen: Observation, asked: Exchange, platform: str, *, reached: bool) -> Finding:
    """What one request shows."""
    if asked.heard.status and not reached:
        return manner.unproven("the signal did not reach the app")
    if not asked.was_under_way:
        return manner.unproven(_too_easy(seen, asked), _harder(seen, asked))
    what = f"{asked}, {_HELD[asked.request.hold]},"
    usual = {one.before.status for one in (seen.idle, asked) if one}
    refusals = {_UNAVAILABLE} if not seen.named else range(500, 600)
    if asked.heard.status in refusals and asked.heard.status not in usual:
        return manner.bad(
            f"{what} was answered {asked.heard.status}, {_after(asked.at)}", cures.for_slow_requests()
        )
    if asked.heard.status:
        return manner.good(f"{what} was answered in full: {asked.heard.status}, {_after(asked.at)}")
    told = f"{what} was not answered within {_time(seen.lasted)}"
    if asked.heard.closed:
        told = f"{what} was {asked.heard.closed} without a full answer {_after(asked.at)}"
    if (seen.lasted if asked.at is None else asked.at) > seen.hold + PROMPTLY:
        return manner.bad(told, cures.for_slow_requests())
    large = asked.request.hold is Hold.READING
    return manner.bad(told, cures.for_large_answers(platform) if large else cures.to_obey(platform))


_HELD = {
    Hold.BODY: "half sent at SIGTERM",
    Hold.READING: "read only after SIGTERM",
    Hold.NOTHING: "under way at SIGTERM",
}


def _too_easy(seen: Observation, asked: Exchange) -> str:
    """Why a request shows nothing that was over before SIGTERM."""
    if not asked.heard.status:
        return f"{asked} was {asked.before.closed} before SIGTERM, without an answer"
    why = f"{asked} is answered at once ({asked.heard.status})"
    if asked.request.hold is Hold.BODY:
        why += ", before its body comes"
    elif asked.request.hold is Hold.READING:
        why = (
            f"the answer to {asked} ({asked.heard.status}, {asked.heard.size:,} bytes) was out before SIGTERM"
        )
    if seen.exited is None:
        return why
    return f"{why}; {seen.main} exited {_after(seen.exited)}, which may cut off a request that takes longer"


def _harder(seen: Observation, asked: Exchange) -> str:
    """What to name instead."""
    if not seen.named or not asked.heard.status:
        return cures.to_prove(seen.app)
    if asked.heard.status >= 400:
        return f"name a path that is answered well: {asked.request.path} is answered {asked.heard.status}"
    return {
        Hold.BODY: "name a path that reads the body of a POST before it answers",
        Hold.READING: "name a path whose answer is larger: some 100 KB at least",
        Hold.NOTHING: "name a path whose answer takes longer: a second at least",
    }[asked.request.hold]


def _closes_idle(seen: Observation, cure: str) -> Finding:
    manner = _Manner("idle", "idle keep-alive connections are closed")
    idle = seen.idle
    if idle is None:
        return manner.unproven(_NO_HTTP)
    if idle.before.status is None:
        return manner.unproven(f"{idle} was not answered")
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
        return manner.unproven("it did not exit")
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
