"""What an observation of a stop means: one finding for each requirement of zero downtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core import advice
from substitute.core.check.observation import PROMPTLY
from substitute.core.check.running_requests import finishes
from substitute.core.deploy.running.wrappers import barrier
from substitute.core.model.findings import NO_HTTP, Finding, Requirement, ShutdownReport, span
from substitute.values import replace

if TYPE_CHECKING:
    from substitute.core.check.observation import Observation


def judge(seen: Observation) -> ShutdownReport:
    """Judge what was seen."""
    platform = _platform(seen)
    signal = _signal(seen)
    findings: tuple[Finding, ...] = (
        signal,
        _refuses(
            seen,
            advice.to_refuse(seen.app, platform, seen.signal)
            if seen.exited is not None
            else advice.to_obey(seen.app, platform, seen.signal),
        ),
        finishes(seen, platform, reached=bool(signal.passed)),
        _closes_idle(seen, advice.to_obey(seen.app, platform, seen.signal)),
        _exits(
            seen,
            advice.to_obey(seen.app, platform, seen.signal)
            if seen.refused is None
            else advice.to_end_in_time(seen.app, platform, seen.signal),
        ),
        _leaves_nobody(seen, advice.for_children(seen.signal)),
    )
    if not signal.passed:
        findings = (signal, *map(_after_the_first, findings[1:]))
    return ShutdownReport(platform, findings, seen.signal)


def _after_the_first(finding: Finding) -> Finding:
    """What is wrong where the signal does not arrive shows nothing of the app: one thing is to mend."""
    return replace(finding, cure="bring the signal to it first, as above") if finding.cure else finding


def _signal(seen: Observation) -> Finding:
    requirement = Requirement("signal", f"{seen.signal} reaches the process that listens")
    app = next((one for one in seen.listeners if one.process != seen.main.process), None)
    if app is None or seen.main in seen.listeners:
        return requirement.good(f"{seen.main} listens itself")
    if app not in seen.survivors:
        return requirement.good(f"{seen.main} passed it on to {app}")
    found = barrier(seen.members.values(), seen.main.process)
    keeper = found.keeper if found else seen.main
    return requirement.bad(
        f"{seen.main} got it; {app} listens, and was told nothing",
        advice.to_be_reached(seen.main, keeper, seen.signal),
    )


def _refuses(seen: Observation, cure: str) -> Finding:
    requirement = Requirement("refuse", f"new connections are refused within {span(PROMPTLY)}")
    if seen.refused is None:
        return requirement.bad(f"still accepted {seen.after(seen.lasted)}", cure)
    if seen.refused > PROMPTLY:
        return requirement.bad(f"refused only {seen.after(seen.refused)}", cure)
    return requirement.good(f"refused {seen.after(seen.refused)}")


def _closes_idle(seen: Observation, cure: str) -> Finding:
    requirement = Requirement("idle", "idle keep-alive connections are closed")
    idle = seen.idle
    if idle is None:
        return requirement.unproven(NO_HTTP, advice.to_speak_http(seen.app))
    if idle.before.status is None:
        return requirement.unproven(f"{idle} was not answered")
    if idle.before.closed:
        return requirement.good("none is kept open")
    if idle.at is None:
        return requirement.bad(
            f"still open {seen.after(seen.lasted if seen.overdue is None else seen.overdue)}", cure
        )
    return requirement.good(f"closed {seen.after(idle.at)}")


def _exits(seen: Observation, cure: str) -> Finding:
    requirement = Requirement("exit", f"it exits within stop.timeout, {span(seen.limit)}")
    if seen.exited is None or seen.exited > seen.limit:
        return requirement.bad(f"{seen.main} still ran {seen.after(seen.limit)}, and was killed", cure)
    return requirement.good(f"{seen.main} exited {seen.after(seen.exited)}")


def _leaves_nobody(seen: Observation, cure: str) -> Finding:
    requirement = Requirement("children", "no child survives it")
    if seen.exited is None:
        return requirement.unproven("it did not exit")
    if not seen.survivors:
        return requirement.good("none did")
    names = ", ".join(map(str, seen.survivors))
    return requirement.bad(f"{names} still ran {span(seen.lasted - seen.exited)} after {seen.main}", cure)


def _platform(seen: Observation) -> str:
    """That of the process that listens, else of any."""
    known = (one.platform for one in (*seen.listeners, seen.main, *seen.members.values()))
    return next(filter(None, known), "")
