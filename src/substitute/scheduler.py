"""What a root's runtime keeps where a live version has crons: it starts each command when it is due.

It keeps nothing from one minute to the next: each time the root is opened as by any command, and asked what is due. A
command is started and looked after by a process of its own, forked from this one, which goes on when this one ends.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

from substitute.core.model.errors import SubstituteError
from substitute.core.operate import scheduling
from substitute.wiring.opening import open_site

if TYPE_CHECKING:
    from substitute.core.model.events import Event
    from substitute.core.model.records import RunRecord

_MINUTE = 60
_NAP = 10.0
"""Seconds after which the clock is looked at in any case: somebody may have set it."""
_MOMENT = 0.01


def main(root: str) -> None:
    """Start what is due in `root`, each minute, for ever."""
    looked = None
    while True:
        minute = time.time() // _MINUTE
        if minute != looked:
            looked = minute
            for run in _claimed(root):
                _begin(root, run)
        time.sleep(min(_NAP, _MINUTE - time.time() % _MINUTE + _MOMENT))


def _claimed(root: str) -> list[RunRecord]:
    """What is due and nobody else runs. The journal is closed again: no process may inherit it."""
    try:
        site = open_site(root, _tell)
        try:
            return scheduling.claim_due(site.host)
        finally:
            site.close()
    except SubstituteError as error:
        print(error, flush=True)  # noqa: T201
    except Exception:  # noqa: BLE001  # in a minute it is tried again
        traceback.print_exc()
    return []


def _begin(root: str, run: RunRecord) -> None:
    """Have a process run it that is nobody's child, and of a session of its own."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _carry_on(root, run)
    finally:
        os._exit(0)


def _carry_on(root: str, run: RunRecord) -> None:
    try:
        site = open_site(root, _tell)
        scheduling.carry_on(site.host, site.known(run.app), run)
        site.close()
    except SubstituteError as error:
        print(error, flush=True)  # noqa: T201
    except BaseException:  # noqa: BLE001  # this is all that there is of the process
        traceback.print_exc()


def _tell(event: Event) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), getattr(event, "message", event), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
