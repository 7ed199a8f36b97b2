"""What settling tells the deployment that it is part of, and whoever else settles."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from substitute.core.model.slots import Phase
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.interrupts import Interrupts
    from substitute.core.state.lock import Lock


class Steps(Protocol):
    """What settling tells the deployment that it is part of."""

    @property
    def id(self) -> int | None:
        """The deployment, which is not a leftover; None outside one."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Entered for the time of a phase."""

    @property
    def in_background(self) -> bool:
        """What leaves finishes behind the command: the guardian waits for it."""

    def doing(self, phase: Phase, what: str) -> None:
        """Tell whoever waits for this, in a sentence, what is waited for in `phase`. Never raises."""

    def hook(self, name: str) -> None:
        """Called where a hook of the user's has its place. Never raises."""


@dataclass(frozen=True)
class Quietly:
    """Recovery, or giving up: no phases shown, no hooks run."""

    id: int | None = None
    interrupts: Interrupts | None = None
    """A second signal may hand a drain over to the guardian."""
    in_background: bool = False
    lock: Lock | None = None
    """That of a process which nobody has typed: whoever waits for it is told what it does."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Show nothing."""
        self.doing(phase, "")
        if self.interrupts and phase is Phase.DRAIN:
            return self.interrupts.handing_over()
        return nullcontext()

    def doing(self, phase: Phase, what: str) -> None:
        """Tell it by the lock."""
        if self.lock:
            self.lock.phase(phase, what)

    def hook(self, name: str) -> None:
        """Run nothing."""
