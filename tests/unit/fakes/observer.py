"""How instances stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.ports.observer import Heard, Hold, Member, Progress

if TYPE_CHECKING:
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.observer import Request
    from tests.unit.fakes.world import World


@dataclass
class FakeConversation:
    """A request to an instance that waits for its body, answers, and closes idle connections at its end."""

    world: World
    name: str
    answered: bool

    def hear(self) -> Heard:
        return Heard(200 if self.answered else None, "" if self.name in self.world.running else "closed")

    def go_on(self) -> None:
        self.answered = True

    def progress(self) -> Progress:
        return Progress()

    def close(self) -> None:
        pass


@dataclass
class FakeObserver:
    world: World

    def members(self, endpoint: Endpoint, process: Process, signal: str) -> tuple[Member, ...]:
        running = self.world.running.get(self.world.name_on(endpoint.port))
        return (Member(process, "serve", listens=True),) if running == process else ()

    def refuses(self, endpoint: Endpoint) -> bool:
        return "terminate" in self.world.log[-1]

    def lateness(self, endpoint: Endpoint, request: Request) -> float:
        del endpoint, request
        return self.world.lateness.pop(0) if self.world.lateness else 0.0

    def ask(self, endpoint: Endpoint, request: Request) -> FakeConversation:
        answered = request.hold is Hold.NOTHING
        return FakeConversation(self.world, self.world.name_on(endpoint.port), answered=answered)
