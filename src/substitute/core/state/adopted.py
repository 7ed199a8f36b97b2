"""What the journal keeps of an app that was adopted: in which slot it is, and what kept it running before."""

from __future__ import annotations

import json

from substitute.core.model.slots import SlotName
from substitute.core.ports.strangers import Keeper
from substitute.values import asdict, dataclass


@dataclass(frozen=True)
class Adopted:
    """An app that runs without having been started here. Its process and its port are the slot's."""

    slot: SlotName
    keeper: Keeper | None

    @property
    def called(self) -> str:
        """What it is, in words."""
        return self.keeper.called if self.keeper else "a process that nothing keeps"


def written(adopted: Adopted) -> str:
    """It as the journal keeps it."""
    return json.dumps(asdict(adopted))


def read(text: str | None) -> Adopted | None:
    """What was `written`; None where nothing was, or it has left."""
    if not text:
        return None
    known = json.loads(text)
    keeper = known["keeper"]
    if keeper:
        keeper = Keeper(**{**keeper, "start": tuple(keeper["start"]), "stop": tuple(keeper["stop"])})
    return Adopted(SlotName(known["slot"]), keeper)


def fact_of(app: str) -> str:
    """The name of the fact that holds it."""
    return f"adopted:{app}"
