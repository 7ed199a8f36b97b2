"""Why a host did not do what it was asked, in kinds that differ in what is known afterwards."""

from __future__ import annotations

from typing import ClassVar

from substitute.core.model.errors import SubstituteError


class HostError(SubstituteError):
    """A host did not answer as it should."""

    kind: ClassVar[str] = "failed"
    """As JSON has it."""


class UnreachableError(HostError):
    """No connection: nothing was begun there."""

    kind = "unreachable"
    passing = False
    """Whether another try may help at once: the other side has too many connections under way."""


class NotInstalledError(HostError):
    """There is a connection, and no substitute, or none that is new enough: nothing was begun there."""

    kind = "not installed"


class SilentHostError(HostError):
    """There is a connection, and no answer in time."""

    kind = "silent"


class LostError(HostError):
    """The connection was lost in the middle: what became of the command is not known by that."""

    kind = "lost"


class RefusedError(HostError):
    """The command ended there, with a status that is not 0."""

    kind = "failed"

    def __init__(self, status: int, what: str, *, fact: str = "", cure: str = "") -> None:
        super().__init__(what, fact=fact, cure=cure)
        self.status = status
