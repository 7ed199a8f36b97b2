"""What an operation is about to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.model.slots import SlotName
    from substitute.core.ports.source import Revision

CHECK = "check"
"""The operation that makes nothing live."""


@dataclass(frozen=True)
class Plan:
    """What an operation is about to do: all that deploy, rollback and restart differ in."""

    operation: str
    slot: SlotName
    revision: Revision
    update: bool
    """Update and build the slot first; a rollback may start it as it stands."""
    warm: bool = False
    """It stands by: it runs already, and nothing is started."""
    released: bool = False
    """Its `release` has run on another host, for all of them."""
