"""What an observation of SIGTERM means: one finding for each of the manners that zero downtime asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from substitute.core import cures
from substitute.core.finding import NO_HTTP, Finding, Manner, after, span
from substitute.core.finishing import finishes
from substitute.core.sigterm import PROMPTLY
from substitute.core.wrappers import barrier

if TYPE_CHECKING:
    from substitute.core.sigterm import Observation


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
        finishes(seen, platform, reached=bool(signal.passed)),
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


def _signal(seen: Observation) -> Finding:
    manner = Manner("signal", "SIGTERM reaches the process that listens")
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
    manner = Manner("refuse", f"new connections are refused within {span(PROMPTLY)}")
    if seen.refused is None:
        return manner.bad(f"still accepted {after(seen.lasted)}", cure)
    if seen.refused > PROMPTLY:
        return manner.bad(f"refused only {after(seen.refused)}", cure)
    return manner.good(f"refused {after(seen.refused)}")


def _closes_idle(seen: Observation, cure: str) -> Finding:
    manner = Manner("idle", "idle keep-alive connections are closed")
    idle = seen.idle
    if idle is None:
        return manner.unproven(NO_HTTP, cures.to_speak_http(seen.app))
    if idle.before.status is None:
        return manner.unproven(f"{idle} was not answered")
    if idle.before.closed:
        return manner.good("none is kept open")
    if idle.at is None:
        return manner.bad(f"still open {after(seen.lasted if seen.overdue is None else seen.overdue)}", cure)
    return manner.good(f"closed {after(idle.at)}")


def _exits(seen: Observation, cure: str) -> Finding:
    manner = Manner("exit", f"it exits within stop.timeout, {span(seen.limit)}")
    if seen.exited is None or seen.exited > seen.limit:
        return manner.bad(f"{seen.main} still ran {after(seen.limit)}, and was killed", cure)
    return manner.good(f"{seen.main} exited {after(seen.exited)}")


def _leaves_nobody(seen: Observation, cure: str) -> Finding:
    manner = Manner("children", "no child survives it")
    if seen.exited is None:
        return manner.unproven("it did not exit")
    if not seen.survivors:
        return manner.good("none did")
    names = ", ".join(map(str, seen.survivors))
    return manner.bad(f"{names} still ran {span(seen.lasted - seen.exited)} after {seen.main}", cure)


def _platform(seen: Observation) -> str:
    """That of the process that listens, else of any."""
    known = (one.platform for one in (*seen.listeners, seen.main, *seen.members.values()))
    return next(filter(None, known), "")
