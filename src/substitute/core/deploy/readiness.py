"""When an instance may get traffic: it is the one that was started, it listens, and it answers well."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from substitute.core.deploy.unready import places, to_answer_well, to_listen
from substitute.core.excerpt import LAST
from substitute.core.model.environment import origin
from substitute.core.model.errors import NotReadyError, RuntimeFailedError
from substitute.core.model.versions import health_of
from substitute.core.polling import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from substitute.core.model.apps import App, Health
    from substitute.core.model.programs import Process
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.runtime import Log

_SHORTEST, _LONGEST, _SHARE = 0.002, 0.005, 0.02
"""Seconds between two looks at whether it listens: a share of what was waited, so that quick starts lose nothing."""
_SOON = 0.002
"""Seconds between the first two answers. Each pause is twice as long as the one before, up to `health.interval`."""
_STRANGER_PATIENCE = 1.0
"""Seconds that a listener may look like a stranger's: between fork and listen, /proc is a moment behind."""
PATIENCE = 2.0
"""Seconds that a running live instance has for one good answer before it counts as not answering."""
_ENDING_PATIENCE, _ENDING_TICK = 1.5, 0.1
"""Seconds until a runtime knows how a process ended that is gone, and between two questions."""
_NOTHING = "nothing listens yet"
_REFUSED = "connection refused"
_APART = "docs/sigterm.md says how each slot gets a daemon of its own."
_LIVES = 3
"""Processes one after the other that a live instance may have while it is looked at."""
_TICK = 0.02


class LogTail:
    """What an instance writes from now on, and the last of it for an error's text."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.last: list[str] = []
        self.show: Callable[[str], None] = lambda _: None
        """Is given every line."""

    def lines(self, *, ended: bool = False) -> list[str]:
        """The whole lines since the previous call; never raises. `ended`: the instance runs no more."""
        lines = self._log.lines(ended=ended)
        self.last = [*self.last, *lines][-LAST:]
        for line in lines:
            self.show(line)
        return lines


def require_free(host: Host, slot: SlotRecord) -> None:
    """Raise RuntimeFailedError, with the holder's name, where a port of `slot` is taken."""
    for endpoint in slot.endpoints:
        if holder := host.prober.holder(endpoint):
            ours = _other_slots(host, slot)
            raise RuntimeFailedError(
                f"Port {endpoint.port} of {slot.called} is taken.",
                fact=f"{holder} listens on it. {ours}".strip(),
                cure=_APART if ours else _free(slot),
            )


def _free(slot: SlotRecord) -> str:
    if slot.instance_name:
        return "Stop that program, or start the guest on another port."
    return f"Stop it, or give slot {slot.name} another port in substitute.toml."


def _other_slots(host: Host, slot: SlotRecord) -> str:
    """That what listens on a port of `slot` is of the app's other slot, where it is."""
    if slot.app not in host.journal.names():
        return ""
    other = host.journal.app(slot.app).slots[slot.name.other]
    user = other.version.user if other.version else None
    main = host.inspect(other).process
    theirs = [*([main] if main else []), *host.prober.marked(origin(other), {user}, host.root)]
    if any(host.prober.owned(endpoint, process) for endpoint in slot.endpoints for process in theirs):
        return (
            f"It belongs to the instance of slot {other.name}: either both slots talk to one daemon, or it does not "
            "listen on $PORT alone."
        )
    return ""


def await_ready(
    host: Host,
    health: Health,
    slot: SlotRecord,
    process: Process,
    *,
    show: Callable[[str], None],
    log: LogTail,
    start: str = "",
) -> None:
    """Return when `process` has given `successes` good answers in a row. `start` is what it was started with.

    Raises NotReadyError at once when it exits, and after `health.timeout` seconds with its last answer.
    """
    log.show = show
    began = host.clock.monotonic()
    good, strange, soon = 0, 0.0, _SOON
    while True:
        log.lines()
        _require_alive(host, slot, process, log)
        waited = host.clock.monotonic() - began
        pause = min(max(waited * _SHARE, _SHORTEST), _LONGEST)
        verdict, last = _look(host, health, slot, process)
        if verdict is _Verdict.STRANGE:
            strange += pause
            if strange > _STRANGER_PATIENCE and (ours := _other_slots(host, slot)):
                last = f"{last}. {ours} {_APART}"
        else:
            good = good + 1 if verdict is _Verdict.GOOD else 0
        if good >= health.successes:
            return
        if strange > _STRANGER_PATIENCE or host.clock.monotonic() >= began + health.timeout:
            raise _not_ready(host, health, slot, process, last=last, log=log, start=start)
        if verdict in {_Verdict.GOOD, _Verdict.BAD}:
            pause, soon = min(soon, health.interval), soon * 2
        host.clock.sleep(pause)


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


def _look(host: Host, health: Health, slot: SlotRecord, process: Process) -> tuple[_Verdict, str]:
    """Look once at the instance: the verdict, and what was seen."""
    owned = _owned(host, slot, process)
    if owned is None:
        return _Verdict.UNASKED, _NOTHING
    if not owned:
        holder = next(filter(None, map(host.prober.holder, slot.endpoints)), "another process")
        return _Verdict.STRANGE, f"{holder} listens there, not the instance that was started"
    if not host.inspect(slot).ready:
        return _Verdict.UNASKED, "it has not said READY=1"
    good, seen = _answer(host, slot, health)
    return _Verdict.GOOD if good else _Verdict.BAD, seen


def answers(host: Host, app: App, slot: SlotRecord, *, patience: float = 0.0) -> bool:
    """Whether the slot's instance gives one good answer, asked for up to `patience` seconds."""
    health = health_of(app, slot.version)

    def well() -> bool:
        process = host.inspect(slot).process
        return bool(process and _owned(host, slot, process) and _answer(host, slot, health)[0])

    return wait_until(well, patience, min(health.interval, 0.05), clock=host.clock)


def answers_in_time(host: Host, app: App, live: SlotRecord) -> bool:
    """Whether it answers; one that was started again by itself has the time to boot that a candidate has.

    Not one that ends again and again.
    """
    limit = health_of(app, live.version).timeout
    began, lives = host.clock.monotonic(), set()
    while not answers(host, app, live):
        seen = host.inspect(live)
        if not seen.process and not seen.wanted:
            return False
        lives.add(seen.process)
        boots = seen.process and host.prober.age(seen.process) < limit
        patience = limit if boots else PATIENCE
        if len(lives - {None}) > _LIVES or host.clock.monotonic() - began >= patience:
            return False
        host.clock.sleep(_TICK)
    return True


def observe_for(
    host: Host, app: App, slot: SlotRecord, process: Process, *, seconds: float, log: LogTail
) -> None:
    """Watch `process` for `seconds`: it must stay up, and may not answer badly twice in a row.

    However far apart the looks are, the last one is at the end, and a bad one is never the last.
    """
    health = health_of(app, slot.version)
    deadline = host.clock.monotonic() + seconds
    bad = 0
    while True:
        log.lines()
        _require_alive(host, slot, process, log)
        good, last = _answer(host, slot, health)
        bad = 0 if good else bad + 1
        if bad == 2:
            raise NotReadyError(
                f"Slot {slot.name} stopped passing its health check while it was watched with real requests (verify).",
                fact=_with_log(f"Last answer: {last}.", log),
                cure=f"See {slot.logs}.",
            )
        remaining = deadline - host.clock.monotonic()
        if remaining <= 0 and not bad:
            return
        host.clock.sleep(min(health.interval, max(remaining, _TICK)))


def _owned(host: Host, slot: SlotRecord, process: Process) -> bool | None:
    found = [host.prober.owned(endpoint, process) for endpoint in slot.endpoints]
    return None if None in found else all(found)


def _answer(host: Host, slot: SlotRecord, health: Health) -> tuple[bool, str]:
    """Whether all endpoints answer well, and the last answer."""
    last = ""
    for endpoint in slot.endpoints:
        answer = host.prober.probe(endpoint, health)
        last = answer.seen
        if not answer.good:
            return False, last
    return True, last


def _require_alive(host: Host, slot: SlotRecord, process: Process, log: LogTail) -> None:
    if host.prober.alive(process):  # the kernel says so at once; its runtime knows how it ended
        return
    seen = host.inspect(slot)
    if seen.process != process:
        ending = seen.exit or wait_until(
            lambda: host.inspect(slot).exit, _ENDING_PATIENCE, _ENDING_TICK, clock=host.clock
        )
        log.lines(ended=True)
        ended = f"It ended with {ending}." if ending else "Its process is gone."
        raise NotReadyError(
            f"{slot.instance_name} exited."
            if slot.instance_name
            else f"The instance in slot {slot.name} exited.",
            fact=_with_log(ended, log),
            cure=f"See {slot.logs}.",
        )


def _not_ready(
    host: Host, health: Health, slot: SlotRecord, process: Process, *, last: str, log: LogTail, start: str
) -> NotReadyError:
    endpoint = slot.endpoints[0]
    wanted = (
        f"answer 2xx-3xx on :{endpoint.port}{health.path}"
        if health.kind == "http"
        else f"accept on {endpoint}"
    )
    more = to_answer_well(slot, health, last)
    if last in {_NOTHING, _REFUSED} and (found := host.prober.listening(process)):
        # The kernel knows where it listens instead: on another port, on ::1, on IPv6 alone.
        last = f"it listens on {places(found)}, and not on {endpoint}"
        more = to_listen(endpoint, start)
    elif not more and not slot.instance_name and not (last.isdigit() and last != "503"):
        more = f"If the app starts slowly, raise app.{slot.app}.health.timeout."
    return NotReadyError(
        f"{slot.instance_name or f'Slot {slot.name}'} did not {wanted} within {health.timeout:g}s (last: {last}).",
        fact=_with_log("", log),
        cure=f"{more} See {slot.logs}.".strip(),
    )


def _with_log(fact: str, log: LogTail) -> str:
    return "\n".join(filter(None, [fact, *(f"  | {line}" for line in log.last)]))
