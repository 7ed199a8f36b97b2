"""Pages that clients asked for lately, asked of both versions before the candidate gets its first request.

Only GET, without query and cookies. What differs is asked for once more, and counts if it differs again: the first
answer of a new process may be slow, and a page may change between two answers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from substitute.core.model.events import Difference, Replayed
from substitute.core.model.findings import span
from substitute.core.ports.access_log import CUT
from substitute.core.ports.prober import Page
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host
    from substitute.core.model.app_settings import Replay
    from substitute.core.model.apps import App
    from substitute.core.model.health import Health
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.access_log import Answered
    from substitute.core.ports.prober import Answer, Prober

AT_ONCE = 4
"""Requests that are under way, two of them to the live version."""
_LIMIT, _PART = 10.0, 4
"""Seconds for one of them, and at most so many parts of the time for all."""
_TIMES, _MORE = 3, 0.5
"""How much slower is worth a line: three times as long, and half a second more."""


class Asked(NamedTuple):
    """What a client asked for."""

    path: str
    host: str
    scheme: str


class Pair(NamedTuple):
    """The two answers to it."""

    asked: Asked
    live: Answer
    candidate: Answer


def wanted(answered: Iterable[Answered], settings: Replay) -> list[Asked]:
    """The pages that were asked for most often, and of those the newest first.

    Only what had a good answer is among them, and not what robots look for in vain.
    """
    counts: Counter[Asked] = Counter()
    for one in reversed(list(answered)):
        if (
            one.method == "GET"
            and 200 <= one.status < 400
            and not one.broken
            and _can_be_asked(one, settings)
        ):
            counts[Asked(one.path, one.host, one.scheme)] += 1
    return [asked for asked, _ in counts.most_common(settings.last)]


def _can_be_asked(one: Answered, settings: Replay) -> bool:
    is_target = one.path.startswith("/") and one.path.isascii() and " " not in one.path
    return is_target and CUT not in one.host and not one.path.startswith(settings.skip)


def compare(
    host: Host, app: App, live: SlotRecord, started: Sequence[Started], asked: Sequence[Asked]
) -> Replayed:
    """Ask both for each page, and those that differ once more. Never raises."""
    clock, within = host.clock, app.replay.timeout
    until, limit = clock.monotonic() + within, min(_LIMIT, within / _PART)
    before = live.version.health if live.version else app.health
    sides = _Sides(host.prober, live.web, before, [one.instance for one in started], started[0].health)
    pairs = sides.ask(asked, at_once=AT_ONCE, within=within, limit=limit)
    doubtful = {pair.asked: pair for pair in pairs if differs(pair)}
    # One after the other: nothing of ours makes an answer slow then.
    again = sides.ask(list(doubtful), at_once=1, within=until - clock.monotonic(), limit=limit)
    doubtful |= {pair.asked: pair for pair in again}
    unanswered = sum(not _is_answered(pair.live) for pair in pairs)
    return Replayed(
        app=app.name,
        slot=started[0].instance.slot,
        compared=len(pairs) - unanswered,
        unanswered=unanswered,
        left_out=len(asked) - len(pairs),
        differences=tuple(_difference(pair) for pair in doubtful.values() if differs(pair)),
    )


class _Sides:
    """Both versions: whose turn it is among a version's instances, and with what they are asked."""

    def __init__(
        self,
        prober: Prober,
        live: Sequence[InstanceRecord],
        before: Health,
        candidate: Sequence[InstanceRecord],
        health: Health,
    ) -> None:
        self._prober = prober
        self._live, self._before = live, before
        self._candidate, self._health = candidate, health

    def ask(self, asked: Sequence[Asked], *, at_once: int, within: float, limit: float) -> list[Pair]:
        """What both answer to each, as far as there was time."""
        pages = [
            _page(instances[number % len(instances)], health, one)
            for number, one in enumerate(asked)
            for instances, health in ((self._live, self._before), (self._candidate, self._health))
        ]
        answers = self._prober.fetch_all(pages, at_once=at_once, limit=limit, within=within)
        both = zip(asked, answers[::2], answers[1::2], strict=True)
        return [Pair(one, live, candidate) for one, live, candidate in both if live and candidate]


def _page(instance: InstanceRecord, health: Health, asked: Asked) -> Page:
    """As a client asked for it who came through the balancer; what the health check says of headers wins."""
    host = asked.host or health.host
    said = {"X-Forwarded-Proto": asked.scheme, "X-Forwarded-Host": asked.host}
    own = {name.lower() for name in health.headers}
    headers = {name: value for name, value in said.items() if value and name.lower() not in own}
    return Page(
        instance.endpoints[0], asked.path, replace(health, host=host, headers={**headers, **health.headers})
    )


def _is_answered(live: Answer) -> bool:
    return 0 < live.status < 500


def differs(pair: Pair) -> bool:
    """Whether the candidate's answer is of another class, or much slower. What live fails too shows nothing."""
    if not _is_answered(pair.live):
        return False
    return _class(pair.live) != _class(pair.candidate) or _is_slower(pair)


def _class(answer: Answer) -> int:
    return answer.status // 100


def _is_slower(pair: Pair) -> bool:
    live, candidate = pair.live, pair.candidate
    return live.good and candidate.seconds > max(live.seconds * _TIMES, live.seconds + _MORE)


def _difference(pair: Pair) -> Difference:
    live, candidate = pair.live, pair.candidate
    if _class(live) != _class(candidate):
        seen = live.seen, candidate.seen
    else:
        seen = span(live.seconds), span(candidate.seconds)
    return Difference(pair.asked.path, pair.asked.host, *seen)
