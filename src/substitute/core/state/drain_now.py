"""Somebody who cannot wait for a drain: a fact in the journal for as long as he waits, and no longer than he lives."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.state.journal import Journal


@contextmanager
def draining_now(journal: Journal, app: str, who: Process, *, cuts: bool = True) -> Iterator[None]:
    """Have each drain of `app` end now, whoever waits for it, while this is entered and the process `who` lives.

    Without `cuts` only those waits end of which nothing is cut: for what a version that stands by has yet to finish.
    """
    fact = _fact(app, cuts=cuts)
    journal.remember(fact, json.dumps([who.pid, who.start_time, who.boot_id]))
    try:
        yield
    finally:
        journal.forget(fact)


def wanted_at_once(journal: Journal, app: str, *, cuts: bool = True) -> Process | None:
    """Who cannot wait, if anybody; he may have died since."""
    known = journal.fact(_fact(app, cuts=cuts))
    return Process(*json.loads(known)) if known else None


def _fact(app: str, *, cuts: bool) -> str:
    return f"hurry:{app}" if cuts else f"hurry:{app}:cuts nothing"
