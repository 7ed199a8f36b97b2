"""When an instance may get traffic: it is the one that was started, it listens, and it answers well."""

from __future__ import annotations

import math
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.health_check import health_check, program_of
from substitute.core.model.environment import origin
from substitute.core.model.errors import NotReadyError, RuntimeFailedError
from substitute.core.model.versions import health_of
from substitute.core.polling import wait_until
from substitute.core.ports.prober import Answer
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from substitute.core.deploy.readiness.health_check import Ask
    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Process
    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import Endpoint

_SHORTEST, _LONGEST, _SHARE = 0.002, 0.05, 0.01
"""Seconds between two looks at whether it listens: a share of what was waited. So quick starts lose nothing, and one
that takes ten seconds is not slowed down by being looked at."""
_SOON = 0.002
"""Seconds between the first two answers. Each pause is twice as long as the one before, up to `health.interval`."""
_STRANGER_PATIENCE = 1.0
"""Seconds that a listener may look like a stranger's: between fork and listen, /proc is a moment behind."""
PATIENCE = 2.0
"""Seconds that a running live instance has for one good answer before it counts as not answering."""
_ENDING_PATIENCE, _ENDING_TICK = 5.0, 0.1
"""Seconds until a runtime knows how a process ended that is gone, and between two questions. Podman removes the
container first."""
_NOTHING = Answer(good=False, seen="nothing listens yet")
_REFUSED = "connection refused"
_DOC_OF_SEPARATE_DAEMONS = "docs/sigterm.md says how each slot gets a daemon of its own."
_LIVES = 3
"""Processes one after the other that a live instance may have while it is looked at."""
_TICK = 0.02
_UP_FOR = 1.0
"""Seconds that an instance without a port and a health check of its own must stay up."""


def require_free(host: Host, slot: SlotRecord | None, instances: Iterable[InstanceRecord]) -> None:
    """Raise RuntimeFailedError, with the holder's name, where a port of `instances` is taken.

    They are of `slot`, or guests.
    """
    for one in instances:
        for endpoint in one.endpoints:
            if holder := host.prober.holder(endpoint):
                ours = _other_slots(host, slot, endpoint)
                raise RuntimeFailedError(
                    f"Port {endpoint.port} of {one.called} is taken.",
                    fact=f"{holder} listens on it. {ours}".strip(),
                    cure=_DOC_OF_SEPARATE_DAEMONS if ours else _free(one),
                )


def _free(instance: InstanceRecord) -> str:
    if instance.is_guest:
        return "Stop that program, or start the guest on another port."
    return f"Stop it, or give slot {instance.slot} another port in substitute.toml."


def _other_slots(host: Host, slot: SlotRecord | None, endpoint: Endpoint) -> str:
    """That what listens on a port of `slot` is of the app's other slot, where it is."""
    if slot is None or slot.app not in host.journal.names():
        return ""
    other = host.journal.app(slot.app).slots[slot.name.other]
    user = other.version.user if other.version else None
    mains = [seen for one in other.instances if (seen := host.inspect(one).process)]
    theirs = [*mains, *host.instances.marked(origin(other), {user}, host.root)]
    if any(host.instances.owned(endpoint, process) for process in theirs):
        return (
            f"It belongs to the instance of slot {other.name}: either both slots talk to one daemon, or it does not "
            "listen on $PORT alone."
        )
    return ""


def await_ready(
    host: Host, slot: SlotRecord | None, started: Sequence[Started], *, show: Callable[[str], None]
) -> None:
    """Return when each of `started` has given `successes` good answers in a row. They are looked at in turn.

    Raises NotReadyError at once when one exits, and after `health.timeout` seconds with its last answer.
    """
    waiting = [_Waiting(host, slot, one) for one in started]
    for one in started:
        one.log.show = show
    while waiting := [one for one in waiting if not one.look()]:
        host.clock.sleep(min(one.pause for one in waiting))


class _Waiting:
    """One instance that is waited for."""

    def __init__(self, host: Host, slot: SlotRecord | None, started: Started) -> None:
        from substitute.core.deploy.readiness.listeners import Elsewhere  # noqa: PLC0415  # of what was just started

        self._host = host
        self._slot = slot
        self._started = started
        self._health = started.health
        self._began = host.clock.monotonic()
        self._good, self._strange, self._soon = 0, 0.0, _SOON
        self._ask = asking(host, started)
        self._elsewhere = Elsewhere(host, started)
        self.pause = 0.0
        """Seconds until it is worth another look."""

    def look(self) -> bool:
        """Look once: whether it is ready. Raises NotReadyError where it will not be."""
        host, started = self._host, self._started
        started.log.lines()
        _require_alive(host, started)
        waited = host.clock.monotonic() - self._began
        self.pause = min(max(waited * _SHARE, _SHORTEST), _LONGEST)
        verdict, last = _look(host, started, self._ask, waited)
        if last is _NOTHING:
            self._elsewhere.look()
        if verdict is _Verdict.STRANGE:
            self._strange += self.pause
            if self._strange > _STRANGER_PATIENCE and (ours := self._whose()):
                last = Answer(good=False, seen=f"{last.seen}. {ours} {_DOC_OF_SEPARATE_DAEMONS}")
        else:
            self._good = self._good + 1 if verdict is _Verdict.GOOD else 0
        if self._good >= self._health.successes:
            return True
        if self._strange > _STRANGER_PATIENCE or host.clock.monotonic() >= self._began + self._health.timeout:
            raise _not_ready(host, started, last=last)
        if verdict in {_Verdict.GOOD, _Verdict.BAD}:
            self.pause, self._soon = min(self._soon, self._health.interval), self._soon * 2
        return False

    def _whose(self) -> str:
        endpoints = self._started.instance.endpoints
        return next(filter(None, (_other_slots(self._host, self._slot, one) for one in endpoints)), "")


class _Verdict(Enum):
    """What one look at an instance shows."""

    GOOD = auto()
    """It answers well."""
    BAD = auto()
    """It answers, and not well."""
    UNASKED = auto()
    """It does not listen yet, or has not said that it is ready."""
    STRANGE = auto()
    """Another process listens, or what starts to listen looks like one."""


def _look(host: Host, started: Started, ask: Ask, waited: float) -> tuple[_Verdict, Answer]:
    """Look once at the instance, after so many seconds: the verdict, and what was seen."""
    instance = started.instance
    if not instance.endpoints and not started.health.command:
        return (_Verdict.GOOD if waited >= _UP_FOR else _Verdict.UNASKED), Answer(good=True, seen="it runs")
    owned = _owned(host, instance, started.process)
    if owned is None:
        # The kernel tells who listens here, and nothing of a cluster.
        awaited = host.inspect(instance).awaited if started.program.container else ""
        return _Verdict.UNASKED, Answer(good=False, seen=awaited) if awaited else _NOTHING
    if not owned:
        holder = next(filter(None, map(host.prober.holder, instance.endpoints)), "another process")
        seen = f"{holder} listens there, not the instance that was started"
        return _Verdict.STRANGE, Answer(good=False, seen=seen)
    if started.program.notifies and not (its := host.inspect(instance)).ready:
        return _Verdict.UNASKED, Answer(good=False, seen=its.awaited or "it has not said READY=1")
    answer = ask()
    return _Verdict.GOOD if answer.good else _Verdict.BAD, answer


def asking(host: Host, started: Started) -> Ask:
    """What asks an instance that was just started."""
    return health_check(host, started.health, started.instance, lambda: started.program)


def answers(
    host: Host,
    app: App,
    slot: SlotRecord,
    instances: Sequence[InstanceRecord] = (),
    *,
    patience: float = 0.0,
    limit: float = math.inf,
) -> bool:
    """Whether one of `instances` (default: all of `slot`) answers well, asked for up to `patience` seconds.

    An answer may take as long as its health check says, and `limit` seconds at most.
    """
    health = health_of(app, slot.version)
    health = replace(health, timeout=min(health.timeout, limit))
    asked = [
        (one, health_check(host, health, one, partial(program_of, host, app, slot, one)))
        for one in instances or slot.web
    ]

    def well() -> bool:
        return any(_answers(host, one, ask) for one, ask in asked)

    return wait_until(well, patience, min(health.interval, 0.05), clock=host.clock)


def _answers(host: Host, instance: InstanceRecord, ask: Ask) -> bool:
    process = host.running(instance)
    return bool(process and _owned(host, instance, process) and ask().good)


def answers_in_time(host: Host, app: App, live: SlotRecord, instances: Sequence[InstanceRecord] = ()) -> bool:
    """Whether it answers; one that was started again by itself has the time to boot that a candidate has.

    Not one that ends again and again.
    """
    limit = health_of(app, live.version).timeout
    began, lives = host.clock.monotonic(), set()
    web = instances or live.web
    while not answers(host, app, live, web):
        seen = [host.inspect(one) for one in web]
        if not any(one.process or one.wanted for one in seen):
            return False
        running = {one.process for one in seen if one.process}
        lives |= running
        boots = any(host.instances.age(process) < limit for process in running)
        patience = limit if boots else PATIENCE
        if len(lives) > _LIVES * len(web) or host.clock.monotonic() - began >= patience:
            return False
        host.clock.sleep(_TICK)
    return True


class Watch:
    """Looks at instances that have requests: each must stay up, and may not answer badly twice in a row."""

    def __init__(self, host: Host, slot: SlotRecord, started: Sequence[Started]) -> None:
        self._host, self._slot, self._started = host, slot, started
        self._asks = [asking(host, one) for one in started]
        self._bad = dict.fromkeys(range(len(started)), 0)

    def look(self) -> bool:
        """Look once at each: whether all have answered well now. Raises NotReadyError."""
        for at, one in enumerate(self._started):
            one.log.lines()
            _require_alive(self._host, one)
            last = self._asks[at]()
            self._bad[at] = 0 if last.good else self._bad[at] + 1
            if self._bad[at] == 2:
                from substitute.core.deploy.readiness.unready import wrote  # noqa: PLC0415  # of an error alone

                raise NotReadyError(
                    f"{one.instance.subject} stopped passing its health check while it was watched with real requests "
                    "(verify).",
                    fact=one.log.after(f"Last answer: {last.seen}.\n{wrote(one.health, last)}".rstrip()),
                    cure=f"See {self._slot.logs}.",
                )
        return not any(self._bad.values())


def observe_for(host: Host, slot: SlotRecord, started: Sequence[Started], *, seconds: float) -> None:
    """Watch `started` for `seconds`. Raises NotReadyError.

    However far apart the looks are, the last one is at the end, and a bad one is never the last.
    """
    interval = min(one.health.interval for one in started)
    deadline = host.clock.monotonic() + seconds
    watch = Watch(host, slot, started)
    while True:
        is_well = watch.look()
        remaining = deadline - host.clock.monotonic()
        if remaining <= 0 and is_well:
            return
        host.clock.sleep(min(interval, max(remaining, _TICK)))


def _owned(host: Host, instance: InstanceRecord, process: Process) -> bool | None:
    found = [host.instances.owned(endpoint, process) for endpoint in instance.endpoints]
    return None if None in found else all(found)


def _require_alive(host: Host, started: Started) -> None:
    instance, process = started.instance, started.process
    if host.instances.alive(process):  # the kernel says so at once; its runtime knows how it ended
        return
    seen = host.inspect(instance)
    if seen.process != process:
        ending = seen.exit or wait_until(
            lambda: host.inspect(instance).exit, _ENDING_PATIENCE, _ENDING_TICK, clock=host.clock
        )
        started.log.lines(ended=True)
        ended = f"It ended with {ending}." if ending else "Its process is gone."
        error = NotReadyError(instance.exited, fact=started.log.after(ended), cure=f"See {instance.logs}.")
        error.command = started.program.command
        raise error


def _not_ready(host: Host, started: Started, *, last: Answer) -> NotReadyError:
    from substitute.core.deploy.readiness.unready import (  # noqa: PLC0415  # of this error alone
        asked_for,
        misses,
        table_of,
        to_answer_well,
        to_listen,
        wrote,
    )

    instance, health = started.instance, started.health
    seen, more = last.seen, to_answer_well(instance, health, last)
    found = host.instances.listening(started.process) if seen in {_NOTHING.seen, _REFUSED} else frozenset()
    if found and found.isdisjoint(instance.endpoints):
        # The kernel knows where it listens instead: on another port, on ::1, on IPv6 alone.
        seen = f"it listens on {misses(found, instance.endpoints[0])}"
        more = to_listen(instance.endpoints[0], started.program.command)
    elif not more and not instance.is_guest and not (seen[:3].isdigit() and seen != "503"):
        more = f"If the app starts slowly, raise {table_of(instance)}.health.timeout."
    return NotReadyError(
        f"{instance.subject} did not {asked_for(health, instance)} within {health.timeout:g}s (last: {seen}).",
        fact=started.log.after(wrote(health, last)),
        cure=f"{more} See {instance.logs}.".strip(),
    )
