"""How instances stop, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process
from substitute.core.ports.observer import Heard, Hold, Member, Progress

if TYPE_CHECKING:
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.observer import Request
    from tests.unit.world.world import World


@dataclass
class ModelConversation:
    world: World
    process: Process
    answered: bool

    def hear(self) -> Heard:
        instance = self.world.with_process(self.process)
        return Heard(200 if self.answered else None, "" if instance and instance.listens else "closed")

    def go_on(self) -> None:
        self.answered = True

    def progress(self) -> Progress:
        return Progress()

    def close(self) -> None:
        pass


@dataclass
class ModelObserver:
    world: World

    def members(self, endpoint: Endpoint, process: Process, signal: str) -> tuple[Member, ...]:
        self.world.look()
        return (Member(process, "serve", listens=True),) if self.world.with_process(process) else ()

    def refuses(self, endpoint: Endpoint) -> bool:
        self.world.look()
        return self.world.on(endpoint) is None

    def lateness(self, endpoint: Endpoint, request: Request) -> float:
        del endpoint, request
        self.world.look()
        return 0.0

    def ask(self, endpoint: Endpoint, request: Request) -> ModelConversation:
        self.world.look()
        instance = self.world.on(endpoint)
        process = instance.process if instance else Process(0, 0, "none")
        return ModelConversation(self.world, process, answered=request.hold is Hold.NOTHING)
