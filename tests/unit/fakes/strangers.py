"""What was not started here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.strangers import Stranger


@dataclass
class FakeStrangers:
    """What listens without having been started here."""

    found: dict[int, Stranger] = field(default_factory=dict)
    ended: list[Process] = field(default_factory=list)

    def find(self, endpoint: Endpoint) -> Stranger | None:
        return self.found.get(endpoint.port)

    def end(self, process: Process, *, timeout: float, signal: str) -> bool:
        self.ended.append(process)
        return False
