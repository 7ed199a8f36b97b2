"""Whether requests still bypass the balancer on their way to an adopted app: what sends them there must change first.

The balancer counts the connections that it opens, the kernel shows them all. One that is over stays visible for a
minute (TIME_WAIT), so that none is missed, however short it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError, UnobservedError, UsageError
from substitute.core.polling import wait_while

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.ports.balancer import Traffic

_WATCH, _TICK, _MOMENT = 1.0, 0.05, 0.005
_CURE = "Point your nginx to the balancer (docs/howto/adopt.md), reload it, and type the command again."


def require_led_here(host: Host, record: AppRecord) -> None:
    """Raise UsageError where the live app was adopted, runs, and gets its requests past the balancer, or seems to."""
    live = record.live_slot
    if live is None or not host.adopted(live) or not host.runs(live):
        return
    seen = _seen(host, live)
    if seen is None:
        return
    if seen.requests == 0:
        raise UsageError(
            f"No request has come to {record.name} through the balancer yet.",
            fact=f"The first deployment stops the app on port {live.endpoints[0].port}. Requests that still go there "
            "would fail. Nothing was changed.",
            cure="Point your nginx to the balancer (docs/howto/adopt.md), request one page through it, and type the "
            "command again.",
        )
    if _comes_past(host, live) and _comes_past(host, live):
        raise UsageError(f"{_told(live)} Nothing was changed.", cure=_CURE)


def require_none_come_past(host: Host, slot: SlotRecord) -> None:
    """Wait until nobody comes to the adopted app in `slot` past the balancer, at most its drain timeout.

    Raises RuntimeFailedError where somebody does even then.
    """
    if wait_while(lambda: _comes_past(host, slot), slot.drain_timeout, 0.0, clock=host.clock):
        raise RuntimeFailedError(f"{_told(slot)} So it was not stopped.", cure=_CURE)


def _told(slot: SlotRecord) -> str:
    port = slot.endpoints[0].port
    return f"The adopted app on port {port} still gets connections that do not come from the balancer."


def _comes_past(host: Host, slot: SlotRecord) -> bool:
    """Watch for a moment. The balancer is asked first and last, so that none of its own is taken for another one."""
    endpoint = slot.endpoints[0]
    began = host.clock.monotonic()
    before = _seen(host, slot)
    host.clock.sleep(_MOMENT)  # what was counted has been opened by now
    first = host.prober.connected(endpoint)
    if before is None or first is None:
        return False
    always = True
    while True:
        host.clock.sleep(_TICK)
        now = host.prober.connected(endpoint)
        host.clock.sleep(_MOMENT)
        after = _seen(host, slot)
        if now is None or after is None:
            return False
        if len(now.clients - first.clients) > _difference(before, after):
            return True
        always = always and now.open > (after.open or 0)
        if host.clock.monotonic() >= began + _WATCH:
            return always  # a connection that is kept


def _difference(before: Traffic, after: Traffic) -> int:
    return (after.opened or 0) - (before.opened or 0)


def _seen(host: Host, slot: SlotRecord) -> Traffic | None:
    """What the balancer knows of the slot, where it counts its connections."""
    try:
        seen = (host.traffic() or {}).get(slot.endpoints[0])
    except UnobservedError:
        return None
    return seen if seen and seen.opened is not None else None
