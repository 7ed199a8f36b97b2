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
def draining_now(journal: Journal, app: str, who: Process) -> Iterator[None]:
    """Have each drain of `app` end now, whoever waits for it, while this is entered and the process `who` lives."""
    journal.remember(_fact(app), json.dumps([who.pid, who.start_time, who.boot_id]))
    try:
        yield
    finally:
        journal.forget(_fact(app))


def wanted_at_once(journal: Journal, app: str) -> Process | None:
    """Who cannot wait, if anybody; he may have died since."""
    known = journal.fact(_fact(app))
    return Process(*json.loads(known)) if known else None


def _fact(app: str) -> str:
    return f"hurry:{app}"
