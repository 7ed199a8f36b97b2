"""How programs came and went, by supervisord's log: its API says -1 for every signal, and 0 after a crash at boot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.polling import wait_until
from substitute.io.rotation import read_tail
from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

_LINES = 2000
_COMES_OR_GOES = r"spawned: '([^'\n]+)' with pid (\d+)|(?:exited|stopped): (\S+) \(([^;)]+)"
_REAP_PATIENCE = 3.0
_TICK = 0.005


@dataclass(frozen=True)
class Life:
    """One life of a program."""

    pid: int
    ending: str = ""
    """In words; empty while it runs."""


def lives(log: Path, name: str) -> list[Life]:
    """Those of `name`, the latest at the end.

    One that is gone has no ending before supervisord has looked, which it does once a second.
    """
    lines = "\n".join(read_tail(log, _LINES))
    found: list[Life] = []
    for came, pid, went, ending in re.findall(_COMES_OR_GOES, lines):
        if came == name:
            found.append(Life(int(pid)))
        elif went == name and found:
            found[-1] = Life(found[-1].pid, ending)
    return found


def latest_ending(log: Path, name: str) -> str:
    """How the latest life of `name` ended, once supervisord has looked; "unknown" where it does not say so."""

    def ending() -> str:
        known = lives(log, name)
        return known[-1].ending if known else ""

    return wait_until(ending, _REAP_PATIENCE, _TICK) or "unknown"
