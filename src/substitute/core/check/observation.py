"""The stop signal to one instance that gets no traffic, and what is seen of it from then on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.app_settings import Trials
from substitute.core.model.errors import NotReadyError
from substitute.core.model.findings import span
from substitute.core.model.programs import SIGTERM
from substitute.core.ports.observer import Heard, Hold, Progress, Request
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host
    from substitute.core.model.health import Health
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Process
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.observer import Conversation, Member

PROMPTLY = 1.0
"""Seconds after the signal within which new connections must be refused."""
_IDLE_PATIENCE = 2.5
"""Seconds after the last answer within which idle connections must be closed. Some servers leave them open for 2 s
on purpose: a request may be on its way."""
_HOLD = 1.0
"""Seconds after the signal that a body or the reading is held back: so long does such a request run at least."""
_EARLY = 0.5
"""Seconds that an app has to answer a request before the signal, or to show that it is busy with it."""
_CLEARLY = 0.1
"""Seconds after the signal from which on an answer was not given before it."""
_PATIENCE = 5.0
"""Seconds for the answer to a simple request."""
_GRACE = 1.0
"""Seconds that children may outlive the main process: some end because it has."""
_TICK = 0.02
_SLOW_TICK = 0.1
"""For the long wait of an app that does not stop."""


@dataclass
class Exchange:
    """One request, and what became of it. Times are seconds after the signal."""

    request: Request
    conversation: Conversation
    before: Heard = field(default_factory=Heard)
    """What had come when the signal was sent."""
    progress: Progress = field(default_factory=Progress)
    """How far the instance was with it then."""
    heard: Heard = field(default_factory=Heard)
    at: float | None = None
    """When the connection ended, or the answer was whole."""

    @property
    def was_under_way(self) -> bool:
        """Whether the instance still had to do with it when the signal came, as far as is known by now."""
        if self.request.hold is Hold.READING and self.heard.status:
            out = self.progress.handed_over
            return out is not None and self.heard.size > out
        if self.request.hold is Hold.NOTHING and self.heard.status and self.at is not None:
            return self.before == Heard() and self.at >= _CLEARLY
        return self.before == Heard()

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.path}"


@dataclass
class Observation:
    """What was seen. Times are seconds after the signal; None is never."""

    main: Member
    """Who got the signal."""
    members: dict[Process, Member]
    """Every process of the instance that was seen, as it was when it was first seen."""
    limit: float
    """The stop timeout."""
    signal: str = SIGTERM
    """The one that it got."""
    app: str = ""
    idle: Exchange | None = None
    """A connection that was kept open after its answer; None where no HTTP is spoken."""
    requests: tuple[Exchange, ...] = ()
    """Those that were to be under way."""
    named: bool = False
    """Somebody has named their paths."""
    overdue: float | None = None
    """When the idle connection was still open without an excuse left."""
    refused: float | None = None
    exited: float | None = None
    survivors: tuple[Member, ...] = ()
    lasted: float = 0.0
    """How long it was watched."""

    def after(self, moment: float | None) -> str:
        """When it was, in words."""
        return f"{span(moment or 0.0)} after {self.signal}"

    @property
    def hold(self) -> float:
        """How long after SIGTERM a body or the reading is held back."""
        return min(_HOLD, self.limit / 2)

    @property
    def busy(self) -> bool:
        """Whether a request is under way, as far as is known."""
        return any(not one.before.status and one.at is None for one in self.requests)

    @property
    def idle_until(self) -> float:
        """When an idle connection has no excuse left."""
        answered = (0.0 if one.before.status else one.at or 0.0 for one in self.requests)
        return max(answered, default=0.0) + _IDLE_PATIENCE

    @property
    def listeners(self) -> list[Member]:
        """Who listened on the port."""
        return [member for member in self.members.values() if member.listens]


def watch_stop(host: Host, slot: SlotRecord, started: Started, trials: Trials) -> Observation:
    """Send its stop signal to `started`, a ready instance of `slot`, and watch until all is seen or its time is over.

    The instance may still run afterwards, and is not started again: the caller stops it. Raises NotReadyError
    where it does not live long enough to get the signal.
    """
    instance = started.instance
    with _requests(host, instance, started.health, trials) as (idle, requests):
        seen = _meet(host, slot, started)
        seen.idle, seen.requests, seen.named = idle, requests, trials != Trials()
        began = host.clock.monotonic()
        host.runtime.terminate(instance.name, started.process, signal=seen.signal)
        while True:
            seen.lasted = host.clock.monotonic() - began
            _look(host, instance, seen)
            if _all_is_seen(seen):
                return seen
            host.clock.sleep(_TICK if seen.lasted < 2 * PROMPTLY else _SLOW_TICK)


def _meet(host: Host, slot: SlotRecord, started: Started) -> Observation:
    instance, process = started.instance, started.process
    signal = slot.stop_signal
    members = {one.process: one for one in host.observer.members(instance.endpoints[0], process, signal)}
    if process not in members or host.inspect(instance).process != process:
        raise NotReadyError(
            f"The instance in slot {slot.name} exited before it was told to.",
            fact=host.inspect(instance).exit,
            cure=f"See {slot.logs}.",
        )
    return Observation(members[process], members, slot.stop_timeout, signal, slot.app)


# -- requests -------------------------------------------------------------------------------------


@contextmanager
def _requests(
    host: Host, instance: InstanceRecord, health: Health, trials: Trials
) -> Iterator[tuple[Exchange | None, tuple[Exchange, ...]]]:
    """An idle connection, and requests that are under way: those of `trials`, or the ones that any app may have."""
    made: list[Exchange] = []

    def ask(method: str, path: str, hold: Hold = Hold.NOTHING, *, patience: float = _EARLY) -> Exchange:
        request = Request(method, path, health.host, hold, health.headers)
        exchange = Exchange(request, host.observer.ask(instance.endpoints[0], request))
        made.append(exchange)
        exchange.before = exchange.heard = _hear_for(host, exchange.conversation, patience)
        return exchange

    try:
        idle = ask("GET", health.path, patience=_PATIENCE) if health.kind == "http" else None
        if trials != Trials():
            requests = [
                ask(method, path, hold)
                for method, path, hold in (
                    ("POST", trials.upload, Hold.BODY),
                    ("GET", trials.large, Hold.READING),
                    ("GET", trials.slow, Hold.NOTHING),
                )
                if path
            ]
        else:
            requests = [_half_sent(ask, health.path)] if idle else []
        if idle:
            idle.before = idle.conversation.hear()
        for one in requests:  # once more: others were asked meanwhile
            one.before = one.heard = one.conversation.hear()
            one.progress = one.conversation.progress()
        yield idle, tuple(requests)
    finally:
        for exchange in made:
            exchange.conversation.close()


def _half_sent(ask: Callable[[str, str, Hold], Exchange], path: str) -> Exchange:
    """A GET, else a POST where the app answers that at once."""
    first = ask("GET", path, Hold.BODY)
    if first.before == Heard():
        return first
    first.conversation.close()
    return ask("POST", path, Hold.BODY)


def _hear_for(host: Host, conversation: Conversation, patience: float) -> Heard:
    deadline = host.clock.monotonic() + patience
    while True:
        heard = conversation.hear()
        if heard != Heard() or host.clock.monotonic() >= deadline:
            return heard
        host.clock.sleep(_TICK)


# -- watching -------------------------------------------------------------------------------------


def _look(host: Host, instance: InstanceRecord, seen: Observation) -> None:
    """Look at everything once, processes first: the end of the last one is the end of all connections."""
    _look_at_processes(host, instance, seen)
    if seen.refused is None and all(map(host.observer.refuses, instance.endpoints)):
        seen.refused = seen.lasted
    for request in seen.requests:
        if request.at is None:
            _look_at_request(seen, request)
    if seen.idle and seen.idle.at is None:
        _look_at_idle(seen, seen.idle)


def _look_at_request(seen: Observation, request: Exchange) -> None:
    """Go on with it when it is time, and note that its answer is whole, or that it was cut off."""
    if seen.lasted >= seen.hold:
        request.conversation.go_on()
    request.heard = request.conversation.hear()
    if request.heard != Heard():
        request.at = seen.lasted
        request.conversation.close()


def _look_at_idle(seen: Observation, idle: Exchange) -> None:
    """Note that it was closed; close it when it should have been, else it may be what the app waits for."""
    idle.heard = idle.conversation.hear()
    if idle.heard.closed:
        idle.at = seen.lasted
    elif seen.overdue is None and not seen.busy and seen.lasted >= seen.idle_until:
        idle.conversation.close()
        seen.overdue = seen.lasted


def _look_at_processes(host: Host, instance: InstanceRecord, seen: Observation) -> None:
    main = seen.main.process
    for member in host.observer.members(instance.endpoints[0], main, seen.signal):
        seen.members.setdefault(member.process, member)
    others = [member for member in seen.members.values() if member.process != main]
    seen.survivors = tuple(member for member in others if host.instances.alive(member.process))
    if seen.exited is None and not host.instances.alive(main):
        seen.exited = seen.lasted


def _all_is_seen(seen: Observation) -> bool:
    if seen.lasted >= seen.limit:
        return True
    if seen.exited is None or seen.busy:
        return False
    idle_decided = seen.idle is None or seen.idle.at is not None or seen.overdue is not None
    if not seen.survivors and idle_decided and seen.refused is not None:
        return True
    # The kernel closes what a process had a moment after its main thread has ended, if it had more than one.
    return idle_decided and seen.lasted >= seen.exited + _GRACE
