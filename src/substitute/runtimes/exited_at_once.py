"""The error of a program that did not stay up, for every runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError

if TYPE_CHECKING:
    from substitute.core.ports.runtime import Log

_LINES = 10


def exited_at_once(name: str, ending: str, log: Log) -> RuntimeFailedError:
    """That `name` exited as soon as it was started, with how it ended and the end of what it wrote to `log`."""
    tail = [f"  | {line}" for line in log.lines(ended=True)[-_LINES:]]
    return RuntimeFailedError(
        f"{name} exited as soon as it was started.", fact="\n".join([f"Its end: {ending}.", *tail])
    )
