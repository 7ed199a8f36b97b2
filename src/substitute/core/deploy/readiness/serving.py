"""Who serves, in truth, when something went wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.readiness import answers
from substitute.core.model.errors import LeftoverError, NothingServesError, SubstituteError, UnmovedError

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.slots import SlotName


def who_serves(host: Host, app: App, trouble: SubstituteError) -> list[SlotName]:
    """The slots that answer, and are not known to get no requests.

    `trouble` is why it is asked: a balancer of the user's own that could not be told goes on as it did, but of ours
    that is silent nothing may be believed.
    """
    try:
        traffic = host.traffic()
    except Exception:  # noqa: BLE001  # whatever kept it from telling
        traffic = None if isinstance(trouble, UnmovedError) else {}
    served = []
    for slot in host.journal.app(app.name).slots.values():
        reached = traffic is None or any(traffic[e].share != 0 for e in slot.endpoints if e in traffic)
        with suppress(Exception):  # one that can't even be asked is not known to serve
            if reached and answers(host, app, slot):
                served.append(slot.name)
    return served


def told_truly(host: Host, app: App, error: SubstituteError) -> SubstituteError:
    """What kept settling from its end, as NothingServesError where nothing serves that should."""
    record = host.journal.app(app.name)
    problem = error.problem if isinstance(error, LeftoverError) else ""
    should_serve = record.live is not None and not record.stopped
    if should_serve and (problem or not who_serves(host, app, error)):
        return NothingServesError(error.what, fact="\n".join(filter(None, [error.fact, problem])))
    return error


def in_words(host: Host, app: App) -> str:
    """What runs of `app`, and what is meant to get requests, in a line."""
    if app.name not in host.journal.names():
        return f"{app.name}: nothing runs."
    told = []
    for slot in host.journal.app(app.name).slots.values():
        runs = host.runs(slot)
        if slot.share:
            state = "serves" if answers(host, app, slot) else "does not answer" if runs else "does not run"
            told.append(f"slot {slot.name} {state}")
        elif runs:
            told.append(f"slot {slot.name} gets no requests and still runs")
    return f"{app.name}: {'; '.join(told) or 'nothing runs'}."
