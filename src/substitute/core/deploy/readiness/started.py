"""An instance that was just started, and what it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.excerpt import LAST
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.health import Health
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Process, Program
    from substitute.core.ports.runtime import Log


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

    def after(self, fact: str) -> str:
        """`fact`, and below it the last lines."""
        return "\n".join(filter(None, [fact, *(f"  | {line}" for line in self.last)]))


@dataclass(frozen=True)
class Started:
    """An instance that was just started."""

    instance: InstanceRecord
    process: Process
    log: LogTail
    """What it writes from its start on."""
    program: Program
    """What it was started as."""
    health: Health
    """What it is judged by."""
