"""Whether a running request is answered in full, by the requests of a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core import advice
from substitute.core.check.observation import PROMPTLY
from substitute.core.model.findings import NO_HTTP, Finding, Requirement, span
from substitute.core.ports.observer import Hold
from substitute.values import replace

if TYPE_CHECKING:
    from substitute.core.check.observation import Exchange, Observation

_UNAVAILABLE = 503
"""What some servers answer where they break a request off because they stop."""


def finishes(seen: Observation, platform: str, *, reached: bool) -> Finding:
    """The worst of what the requests show.

    `reached`: the signal came to the process that answers them.
    """
    requirement = Requirement("finish", "a running request is answered in full")
    if not seen.requests:
        return requirement.unproven(NO_HTTP, advice.to_prove(seen.app))
    found = [_finish(requirement, seen, asked, platform, reached=reached) for asked in seen.requests]
    worst = [one for one in found if one.passed is False] or [one for one in found if one.passed is None]
    told = worst or found
    together = replace(
        told[0],
        seen="; ".join(one.seen for one in told),
        cure="; ".join(dict.fromkeys(one.cure for one in told if one.cure)),
    )
    if together.passed is None and _is_ended_by_the_kernel(seen):
        return requirement.bad(
            f"{seen.main} has no handler for {seen.signal}, which ends it in the middle of anything",
            advice.to_obey(seen.app, platform, seen.signal),
        )
    return together


def _is_ended_by_the_kernel(seen: Observation) -> bool:
    """Whether the signal ends all that answers requests without a word of the app's."""
    alone = seen.listeners == [seen.main]
    return alone and not seen.main.handles_signal and seen.exited is not None


def _finish(
    requirement: Requirement, seen: Observation, asked: Exchange, platform: str, *, reached: bool
) -> Finding:
    """What one request shows."""
    if asked.heard.status and not reached:
        return requirement.unproven("the signal did not reach the app", advice.to_prove(seen.app))
    if not asked.progress.accepted or not asked.was_under_way:
        return requirement.unproven(_why_unproven(seen, asked), _what_proves(seen, asked))
    what = f"{asked}, {_HELD[asked.request.hold]} {seen.signal},"
    usual = {one.before.status for one in (seen.idle, asked) if one}
    refusals = {_UNAVAILABLE} if not seen.named else range(500, 600)
    if asked.heard.status in refusals and asked.heard.status not in usual:
        return requirement.bad(
            f"{what} was answered {asked.heard.status}, {seen.after(asked.at)}", advice.for_slow_requests()
        )
    if asked.heard.status:
        return requirement.good(f"{what} was answered in full: {asked.heard.status}, {seen.after(asked.at)}")
    told = f"{what} was not answered within {span(seen.lasted)}"
    if asked.heard.closed:
        told = f"{what} was {asked.heard.closed} without a full answer {seen.after(asked.at)}"
    if (seen.lasted if asked.at is None else asked.at) > seen.hold + PROMPTLY:
        return requirement.bad(told, advice.for_slow_requests())
    large = asked.request.hold is Hold.READING
    return requirement.bad(
        told,
        advice.for_large_answers(seen.app, platform, seen.signal)
        if large
        else advice.to_obey(seen.app, platform, seen.signal),
    )


_HELD = {
    Hold.BODY: "half sent at",
    Hold.READING: "read only after",
    Hold.NOTHING: "under way at",
}


def _why_unproven(seen: Observation, asked: Exchange) -> str:
    """Why a request shows nothing that was not yet begun when the signal came, or was over."""
    if not asked.progress.accepted:
        return f"{asked} was still in the queue when {seen.signal} came: the app works on fewer requests at a time"
    if not asked.heard.status:
        return f"{asked} was {asked.before.closed} before {seen.signal}, without an answer"
    why = f"{asked} is answered at once ({asked.heard.status})"
    if asked.request.hold is Hold.BODY:
        why += ", before its body comes"
    elif asked.request.hold is Hold.READING:
        why = f"the answer to {asked} ({asked.heard.status}, {asked.heard.size:,} bytes) was out before {seen.signal}"
    if seen.exited is None:
        return why
    return (
        f"{why}; {seen.main} exited {seen.after(seen.exited)}, which may cut off a request that takes longer"
    )


def _what_proves(seen: Observation, asked: Exchange) -> str:
    """What to name instead."""
    if not asked.progress.accepted and seen.named:
        return "name one request only"
    if not seen.named or not asked.heard.status:
        return advice.to_prove(seen.app)
    if asked.heard.status >= 400:
        return f"name a path that is answered well: {asked.request.path} is answered {asked.heard.status}"
    return {
        Hold.BODY: "name a path that reads the body of a POST before it answers",
        Hold.READING: "name a path whose answer is larger: some 100 KB at least",
        Hold.NOTHING: "name a path whose answer takes longer: a second at least",
    }[asked.request.hold]
