"""How a call to supervisord can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.linux.processes import is_stopped

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

PATIENCE = 10.0
"""Seconds that supervisord has for an answer: it does one thing at a time, and none takes long."""


class Fault(Exception):  # noqa: N818
    """It refused."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Absent(Exception):  # noqa: N818
    """No supervisord is there: its socket is missing, or refused. Nothing else says so."""


class Silent(RuntimeFailedError):  # noqa: N818
    """A supervisord is there and does not answer. It may at any moment, and then it does what it was told before."""

    def __init__(self, process: Process | None, fact: str) -> None:
        name = f"supervisord (pid {process.pid})" if process else "supervisord"
        cure = f"Resume it with `kill -CONT {process.pid}`. " if process and is_stopped(process.pid) else ""
        super().__init__(
            f"{name} does not answer.",
            fact=f"It is suspended by SIGSTOP ({fact})." if cure else f"({fact}.)",
            cure=f"{cure}The next deployment ends it and starts another one. The instances keep running meanwhile.",
        )
        self.process = process
        """Who listens on the socket, where that is known."""
