"""The processes of apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.slots import Endpoint, SlotName

BOOT, EXIT, AGAIN = 0.05, 1.5, 0.3
"""Seconds: until an instance answers, from SIGTERM to its end, until a runtime starts it again."""
NOBODY = Process(0, 0, "none")


@dataclass(eq=False)
class Instance:
    """A process of an app's."""

    name: str
    app: str
    slot: SlotName
    process_type: str
    process: Process
    directory: Path
    version: str
    endpoint: Endpoint | None
    """None: it answers no requests."""
    command: str
    """Its start line. It answers a health check that asks for what stands there behind ``serve``, and no other."""
    since: float
    sick: bool = False
    told: float | None = None
    """When it got its signal."""
    signal: str = "SIGTERM"
    """The one that it was started with."""
    stranger: bool = False
    """It was not started here. It may be adopted."""
    frozen: bool = False
    """It gets no processor time: it neither answers nor ends by itself."""

    @property
    def listens(self) -> bool:
        return self.told is None or self.version == "stubborn"
