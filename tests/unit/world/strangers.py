"""What was not started here, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.instances import WEB
from substitute.core.model.slots import SlotName
from substitute.core.ports.strangers import Stranger
from tests.unit.world.instances import BOOT, NOBODY, Instance
from tests.unit.world.versions import Files

if TYPE_CHECKING:
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.strangers import Keeper
    from tests.unit.world.world import World


@dataclass
class ModelStrangers:
    """What was not started here, and is kept by `keeper`, if anything keeps it."""

    world: World
    keeper: Keeper | None = None

    def find(self, endpoint: Endpoint) -> Stranger | None:
        self.world.look()
        instance = self.world.on(endpoint)
        if instance is None:
            return None
        keeper = self.keeper if instance.stranger else None
        return Stranger(instance.process, instance.directory, None, keeper)

    def end(self, process: Process, *, timeout: float, signal: str) -> bool:
        self.world.deed(f"end the stranger {process.pid}", RuntimeFailedError("It cannot be killed."))
        if instance := self.world.with_process(process):
            self._end(instance)
        return False

    # What happens to them.

    def come_along(self, app: str, keeper: Keeper | None) -> None:
        """An app is started by somebody else on the port of slot a, kept by `keeper`, and serves from then on."""
        self.keeper = keeper
        (self.world.root / "old").mkdir(exist_ok=True)
        self.world.files[self.world.root / "old"] = Files("v1")
        self._start(app)
        self.world.clock.sleep(BOOT)

    def _start(self, app: str) -> None:
        place, slot = self.world.root / "old", SlotName.A
        process = self.world.birth(
            Instance(
                f"{app}_a", app, slot, WEB, NOBODY, place, "", self.world.endpoint(app, slot), "serve /", 0.0
            )
        )
        if instance := self.world.with_process(process):
            instance.stranger = True

    def is_one(self, instance: Instance) -> bool:
        """Whether it is none of the root's."""
        if not instance.stranger:
            return False
        return not self.world.host.adopted(self.world.record(instance.app).slots[instance.slot])

    def ask_keeper(self, what: str) -> None:
        """Somebody types the keeper's `start` or `stop`."""
        found = [one for one in self.world.instances if one.stranger]
        if what == "start" and not found:
            self._start("blog")
        for instance in found if what == "stop" else ():
            self._end(instance)

    def _end(self, instance: Instance) -> None:
        """SIGTERM, and its end."""
        with self.world.rules.changing():
            self.world.tell(instance, instance.signal)
        self.world.end(instance)
