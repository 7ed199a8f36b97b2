"""The running processes of a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint, SlotName

WEB = "web"
"""The process type that answers requests."""


@dataclass(frozen=True)
class InstanceRecord:
    """One running process of a slot, or one that is about to be."""

    app: str
    slot: SlotName
    directory: Path
    process_type: str
    """``web`` answers requests; others, as ``worker``, do not."""
    number: int
    """From 1, among those of its type."""
    name: str
    """What its runtime calls it: ``shop_a``, ``shop_a_worker_1``."""
    endpoints: tuple[Endpoint, ...]
    """Where it listens: one for a web instance, none for others; of a workload in a cluster, one of each node."""
    process: Process | None = None
    """None until it is started."""
    is_guest: bool = False
    """It belongs to no slot: `start` runs it under a name of its own."""

    @property
    def short_name(self) -> str:
        """Its name for who knows the app: ``a``, ``a_worker_1``; a guest's is its whole name."""
        return self.name if self.is_guest else self.name.removeprefix(f"{self.app}_")

    @property
    def called(self) -> str:
        """What messages call it: ``slot a``, ``worker 1 of slot a``, or the name of a guest."""
        if self.is_guest:
            return self.name
        alone = self.short_name == self.slot
        return f"slot {self.slot}" if alone else f"{self.process_type} {self.number} of slot {self.slot}"

    @property
    def exited(self) -> str:
        """That it exited, in words."""
        if self.is_guest:
            return f"{self.name} exited."
        alone = self.short_name == self.slot
        return f"The instance in slot {self.slot} exited." if alone else f"{_capital(self.called)} exited."

    @property
    def subject(self) -> str:
        """`called`, at the beginning of a sentence."""
        return self.name if self.is_guest else _capital(self.called)

    @property
    def logs(self) -> str:
        """The command that shows its log."""
        return f"`substitute logs {self.short_name}`"


def instance_name(app: str, slot: SlotName, process_type: str, number: int, *, alone: bool) -> str:
    """``shop_a`` for the only web instance of its slot, else ``shop_a_web_2``, ``shop_a_worker_1``."""
    return f"{app}_{slot}" if alone else f"{app}_{slot}_{process_type}_{number}"


def web_instances(
    app: str, slot: SlotName, directory: Path, endpoints: tuple[Endpoint, ...], *, clustered: bool = False
) -> tuple[InstanceRecord, ...]:
    """The web instances that a slot has: one for each endpoint, or a workload that a cluster has, for all of them."""
    places = [endpoints] if clustered else [(endpoint,) for endpoint in endpoints]
    alone = len(places) == 1
    return tuple(
        InstanceRecord(
            app=app,
            slot=slot,
            directory=directory,
            process_type=WEB,
            number=number,
            name=instance_name(app, slot, WEB, number, alone=alone),
            endpoints=place,
        )
        for number, place in enumerate(places, start=1)
    )


def other_instances(
    app: str, slot: SlotName, directory: Path, counts: Mapping[str, int]
) -> tuple[InstanceRecord, ...]:
    """The instances that a slot has of processes beside ``web``: so many as `counts` says of each."""
    return tuple(
        InstanceRecord(
            app=app,
            slot=slot,
            directory=directory,
            process_type=name,
            number=number,
            name=instance_name(app, slot, name, number, alone=False),
            endpoints=(),
        )
        for name, count in sorted(counts.items())
        for number in range(1, count + 1)
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
