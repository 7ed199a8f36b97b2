"""Several edges of one cluster: the journal follows what another one told, and tells what it says itself.

A slot is led to by each edge on its own. So it has requests in flight until none of them leads there.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from substitute.core.deploy.versions.pointers import write_pointers
from substitute.core.model.errors import LockedError, RuntimeFailedError, SubstituteError, UnobservedError
from substitute.core.model.events import Notice, Warned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Traffic
    from substitute.core.ports.edges import Edges

_FOLLOWS = 30.0
"""Seconds that another edge has to move its weights, beside the time for its requests."""
_TICK = 0.1
_INTERVAL = 0.005
_MOMENT, _LOOK = 3.0, 0.5
"""Seconds for which an edge that works on the same app is waited for, and between two looks."""


@contextmanager
def sharing(host: Host, edges: Edges, app: App, operation: str) -> Iterator[None]:
    """Be the only edge that works on `app`, whose lock is held here. Raises LockedError, which names the other one.

    Where the cluster does not answer, nothing may be started or stopped: requests go where the journal says, at least.
    """
    with ExitStack() as held:
        try:
            is_taken_over = _held(host, edges, app, operation, held)
        except RuntimeFailedError:
            if app.name in host.journal.names():
                host.reroute()
            raise
        held.callback(_tell_at_last, host, edges, app)
        follow(host, edges, app)
        if is_taken_over:  # what the dead edge had not told is not to count when it is back
            tell(host, app, anew=True)
        lead(host, edges)
        yield


def _held(host: Host, edges: Edges, app: App, operation: str, held: ExitStack) -> bool:
    """What `Edges.hold` gives. Another edge is waited for, for a moment or as long as was asked for."""
    deadline, told = host.clock.monotonic() + max(_MOMENT, host.wait), ""
    while True:
        try:
            return held.enter_context(edges.hold(app.name, operation))
        except LockedError as error:
            if host.clock.monotonic() >= deadline:
                raise
            if host.wait and error.fact != told:
                told = error.fact
                host.emit(Notice(f"Waiting, for at most {host.wait:g}s. {told}"))
        host.clock.sleep(_LOOK)


def _tell_at_last(host: Host, edges: Edges, app: App) -> None:
    try:
        tell(host, app)
        lead(host, edges)
    except SubstituteError as error:
        host.emit(Warned(f"The other edges are not told of this. {error.reason}"))


def follow(host: Host, edges: Edges, app: App) -> bool:
    """Have the journal and the balancer go by what another edge has told of `app` since; whether one has.

    The caller holds the lock of `app` here. Nothing is started or stopped.
    """
    told = edges.told(app.name)
    if told is None or told.word == host.journal.word(app.name)[0]:
        return False
    host.journal.follow(app.name, told.word, told.state)
    write_pointers(host, app)
    record = host.journal.app(app.name)
    shares = {name: one.share for name, one in record.desired(host.clock.now()).items()}
    live = f"slot {record.live} is live" if record.live else "no version is live"
    host.emit(Notice(f"{told.by} has worked on {app.name} since: {live}."))
    if why := host.pending(app.name, shares):
        host.emit(Notice(f"The balancer is reloaded. {why}"))
        host.reload(app.name, shares)
    else:
        host.route(app.name, shares)
    return True


def tell(host: Host, app: App, *, anew: bool = False) -> None:
    """Tell the other edges what the journal says of `app`, where that is new, or `anew`.

    Raises LockedError where another edge has taken over: then the journal has to follow it.
    """
    name = app.name
    if host.edges is None or not app.is_clustered or name not in host.journal.names():
        return
    word, told = host.journal.word(name)
    if (state := host.journal.state(name)) != told or anew:
        host.journal.keep_word(name, host.edges.tell(name, state, after=word), state)


def lead(host: Host, edges: Edges) -> None:
    """Say to which slots this edge leads requests: those with a share, or with requests that are not finished."""
    looks = [_look(host)]
    host.clock.sleep(_INTERVAL)  # a request may be between the balancer's accept and its count
    looks.append(_look(host))
    found = {}
    for name in host.journal.names():
        slots = host.journal.app(name).slots.values()
        found[name] = [str(slot.name) for slot in slots if slot.clustered and _is_led_to(slot, looks)]
    edges.lead(found)


def _look(host: Host) -> Mapping[Endpoint, Traffic] | None:
    """What the balancer has in flight; None where that can't be seen."""
    try:
        return host.traffic() or {}
    except UnobservedError:
        return None


def _is_led_to(slot: SlotRecord, looks: list[Mapping[Endpoint, Traffic] | None]) -> bool:
    """Whether it has requests from here, or is about to; it has, where that can't be seen."""
    return bool(slot.share) or any(
        seen is None or any(seen[one].in_flight for one in slot.endpoints if one in seen) for seen in looks
    )


def await_others(host: Host, slot: SlotRecord, *, serve: bool) -> bool:
    """Wait until no other living edge leads requests to `slot`, which has none from here; whether it is so.

    Not where the app is to serve on the others, and only not here (`serve` is false). Raises RuntimeFailedError where
    one goes on with it, LockedError where another one has taken over.
    """
    if host.edges is None or not slot.clustered:
        return True
    deadline = host.clock.monotonic() + slot.drain_timeout + _FOLLOWS
    while others := _leading(host.edges, slot):
        if not serve:
            host.emit(
                Notice(f"Slot {slot.name} goes on in the cluster: {others[0]} leads its own requests there.")
            )
            return False
        if host.clock.monotonic() >= deadline:
            raise RuntimeFailedError(
                f"Slot {slot.name} is not stopped: {others[0]} still leads requests to it.",
                cure=f"See `substitute status` on {others[0]}; `substitute up` tries again.",
            )
        host.clock.sleep(_TICK)
    return True


def _leading(edges: Edges, slot: SlotRecord) -> list[str]:
    edges.require_held(slot.app)
    return edges.leading(slot.app, slot.name)
