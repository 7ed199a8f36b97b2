"""An instance that gets no new requests finishes those it has; what it could not finish is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.running.instances import stop_others, stop_slot
from substitute.core.deploy.running.streams import StreamEnding
from substitute.core.model.errors import InterruptedByUserError, UnobservedError
from substitute.core.model.events import Drained, Warned
from substitute.core.state.drain_now import wanted_at_once
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.balancer import Traffic

_INTERVAL = 0.005
_TOLD_WITHIN = 1.0
"""Seconds until a balancer has seen that an instance is gone."""


def drain(
    host: Host,
    app: App,
    slot: SlotRecord,
    *,
    stops: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Drained:
    """Wait until `slot` has no request in flight, at most its drain timeout; end its streams in waves meanwhile.

    In flight is 0 twice in a row, since a request may be between the balancer's accept and its count. Where
    the balancer can never tell, there is nothing to wait for: the instance finishes its own once told. One that
    can't tell at this moment is asked again. Whoever types --now meanwhile ends the wait; where the slot then runs on
    (not `stops`), so does whoever is about to go back to it. `tell` takes what is waited for, each time that it
    changes.
    """
    waves = StreamEnding(host, slot, app.drain.waves)
    limit = max(slot.drain_timeout, waves.limit)
    deadline = host.clock.monotonic() + limit
    in_flight = _InFlight()
    while True:
        try:
            seen = _traffic_of(host, slot)
        except UnobservedError as error:
            in_flight.miss(error.reason)
        else:
            if seen is None:
                return Drained()
            before = None if in_flight.first is None else in_flight.last
            in_flight.see(seen)
            if in_flight.last != before:
                tell(_in_words(slot, in_flight.last, limit, connections=in_flight.connections))
        if in_flight.is_over:
            return waves.counted(in_flight.drained())
        waves.proceed()
        cut_short = cannot_wait(host, slot.app, cuts=stops)
        late = host.clock.monotonic() >= deadline
        if cut_short and stops:
            left = in_flight.last
            ones = "" if left == 1 else "s"
            told = (
                f"Slot {slot.name} is told to stop now, with {left} request{ones} in flight: --now was typed."
            )
            host.emit(Warned(told))
        elif late and stops:
            _tell_the_limit(host, slot, limit, in_flight)
        if cut_short or late:
            return waves.counted(in_flight.drained())
        host.clock.sleep(_INTERVAL)


@dataclass
class _InFlight:
    """The requests that a slot has in flight, look by look."""

    first: int | None = None
    """At the first look at which they were seen."""
    last: int = 0
    quiet: int = 0
    """Looks in a row that saw none."""
    connections: bool = False
    """They are open connections: this balancer can't tell requests."""
    unseen: str = ""
    """Why nothing was seen at the last look."""

    def see(self, traffic: Sequence[Traffic]) -> None:
        self.last = sum(one.in_flight for one in traffic)
        self.first = self.last if self.first is None else self.first
        self.quiet = self.quiet + 1 if self.last == 0 else 0
        self.connections = any(one.requests is None for one in traffic)
        self.unseen = ""

    def miss(self, why: str) -> None:
        self.quiet, self.unseen = 0, why

    @property
    def is_over(self) -> bool:
        return self.quiet == 2

    def drained(self) -> Drained:
        finished = max((self.first or 0) - self.last, 0)
        return Drained(finished, cut=self.last, at_sigterm=self.last, connections=self.connections)


def cannot_wait(host: Host, app: str, *, cuts: bool) -> bool:
    """Whether somebody who lives needs a slot of `app` at once; without `cuts`, where he cuts nothing by that, too."""
    found = [
        wanted_at_once(host.journal, app),
        None if cuts else wanted_at_once(host.journal, app, cuts=False),
    ]
    return any(who is not None and host.instances.alive(who) for who in found)


def _in_words(slot: SlotRecord, count: int, limit: float, *, connections: bool) -> str:
    """What `slot` still has."""
    key = "drain.streams" if limit > slot.drain_timeout else "drain.timeout"
    what = "open connection" if connections else "request"
    ones = "" if count == 1 else "s"
    return f"Slot {slot.name} still finishes {count} {what}{ones}, for at most {limit:g}s in all ({key})."


def _tell_the_limit(host: Host, slot: SlotRecord, limit: float, in_flight: _InFlight) -> None:
    key = "drain.streams" if limit > slot.drain_timeout else "drain.timeout"
    waited = f"{limit:g}s (app.{slot.app}.{key})"
    now = f"It gets {slot.stop_signal} now, and {slot.stop_timeout:g}s to finish (stop.timeout)."
    last = in_flight.last
    ones = "" if last == 1 else "s"
    if in_flight.unseen:
        told = (
            f"Which requests slot {slot.name} still has after {waited} is not known. {in_flight.unseen} {now}"
        )
        host.emit(Warned(told))
    elif last and in_flight.connections:
        host.emit(
            Warned(
                f"Slot {slot.name} still has {last} open connection{ones} after {waited}: slow requests, streams, or "
                f"idle connections that your balancer keeps (docs/balancers.md tells how it closes them). {now}"
            )
        )
    elif last:
        host.emit(
            Warned(
                f"Slot {slot.name} still has {last} request{ones} after {waited}: slow answers, streams or WebSockets. "
                f"{now}"
            )
        )


def _traffic_of(host: Host, slot: SlotRecord) -> list[Traffic] | None:
    """What the balancer knows of the slot's endpoints; None where that can never be known."""
    traffic = host.balancer.traffic()
    if traffic is None:
        return None
    return [traffic[endpoint] for endpoint in slot.endpoints if endpoint in traffic]


def _cut(host: Host, slot: SlotRecord, *, patience: float = 0.0) -> int | None:
    """How many answers of `slot` the balancer has seen broken off, as soon as nothing is in flight there.

    None where it can't tell. Never raises but on a signal: nothing hangs on it.
    """
    deadline = host.clock.monotonic() + patience
    while True:
        try:
            seen = _traffic_of(host, slot)
        except InterruptedByUserError:
            raise
        except Exception:  # noqa: BLE001  # whatever keeps it from telling
            seen = None
        if not seen or any(one.cut is None for one in seen):
            return None
        if not any(one.in_flight for one in seen) or host.clock.monotonic() >= deadline:
            return sum(one.cut or 0 for one in seen)
        host.clock.sleep(_INTERVAL)


def stop_web(host: Host, app: App, slot: SlotRecord, drained: Drained) -> Drained:
    """Do what `stop_and_count` does, and have the workers of `slot` run on."""
    if not slot.others:
        return stop_and_count(host, app, slot, drained)
    return _counted(host, slot, drained, lambda: stop_others(host, app, slot, slot.web))


def stop_and_count(
    host: Host, app: App, slot: SlotRecord, drained: Drained, behind: Sequence[InstanceRecord] = ()
) -> Drained:
    """Do what `stop_slot` does. What it still had was cut where the balancer saw that fail, or it was killed."""
    return _counted(host, slot, drained, lambda: stop_slot(host, app, slot, behind))


def _counted(host: Host, slot: SlotRecord, drained: Drained, stop: Callable[[], bool]) -> Drained:
    """What became of the requests of `slot` by `stop`, which says whether it had to kill."""
    before = _cut(host, slot) if drained.at_sigterm else None
    killed = stop()
    after = None if before is None or killed else _cut(host, slot, patience=_TOLD_WITHIN)
    if before is None or after is None or after < before:  # it can't tell, or has begun anew
        return drained
    cut = min(after - before, drained.at_sigterm)
    return replace(drained, cut=cut, finished=drained.finished + drained.at_sigterm - cut)
