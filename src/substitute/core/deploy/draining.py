"""An instance that gets no new requests finishes those it has; what it could not finish is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from substitute.core.deploy.instances import stop_instance
from substitute.core.model.errors import InterruptedByUserError, UnobservedError
from substitute.core.model.events import Drained, Warned

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.balancer import Traffic

_INTERVAL = 0.01
_TOLD_WITHIN = 1.0
"""Seconds until a balancer has seen that an instance is gone."""


def drain(host: Host, slot: SlotRecord) -> Drained:
    """Wait until `slot` has no request in flight, at most its drain timeout.

    In flight is 0 twice in a row, since a request may be between the balancer's accept and its count. Where
    the balancer can never tell, there is nothing to wait for: the instance finishes its own after SIGTERM. One that
    can't tell at this moment is asked again.
    """
    deadline = host.clock.monotonic() + slot.drain_timeout
    first = last = None
    quiet, connections = 0, False
    while True:
        unseen = ""
        try:
            seen = _traffic_of(host, slot)
        except UnobservedError as error:
            unseen, quiet = error.reason, 0
        else:
            if seen is None:
                return Drained()
            now = sum(one.in_flight for one in seen)
            connections = any(one.requests is None for one in seen)
            first, last = now if first is None else first, now
            quiet = quiet + 1 if now == 0 else 0
        if quiet == 2:
            return Drained(finished=first or 0, connections=connections)
        if host.clock.monotonic() >= deadline:
            _tell_the_limit(host, slot, last or 0, unseen, connections=connections)
            first, last = first or 0, last or 0
            return Drained(max(first - last, 0), cut=last, at_sigterm=last, connections=connections)
        host.clock.sleep(_INTERVAL)


def _tell_the_limit(host: Host, slot: SlotRecord, last: int, unseen: str, *, connections: bool) -> None:
    waited = f"{slot.drain_timeout:g}s (app.{slot.app}.drain.timeout)"
    now = f"It gets SIGTERM now, and {slot.stop_timeout:g}s to finish (stop.timeout)."
    ones = "" if last == 1 else "s"
    if unseen:
        host.emit(
            Warned(f"Which requests slot {slot.name} still has after {waited} is not known. {unseen} {now}")
        )
    elif last and connections:
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


def stop_and_count(host: Host, app: App, slot: SlotRecord, drained: Drained) -> Drained:
    """Do what `stop_instance` does. What it still had was cut where the balancer saw that fail, or it was killed."""
    before = _cut(host, slot) if drained.at_sigterm else None
    killed = stop_instance(host, app, slot)
    after = None if before is None or killed else _cut(host, slot, patience=_TOLD_WITHIN)
    if before is None or after is None or after < before:  # it can't tell, or has begun anew
        return drained
    cut = min(after - before, drained.at_sigterm)
    return replace(drained, cut=cut, finished=drained.finished + drained.at_sigterm - cut)
