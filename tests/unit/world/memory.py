"""A world as it was, so that a test can begin from the same point again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.deploy.versions.pointers import write_pointers

if TYPE_CHECKING:
    from tests.unit.world.world import World


@dataclass(frozen=True)
class Memory:
    """A world as it was."""

    journal: bytes
    parts: list[dict[str, object]]


def remember(world: World) -> Memory:
    """All that is so now."""
    parts = [vars(part).copy() for part in _parts(world)]
    for opened in ("journal", "host"):
        del parts[0][opened]
    return Memory(world.journal.on_the_disk(), _copy(world, parts))


def go_back(world: World, memory: Memory) -> None:
    """Make all so again as it was."""
    for part, attributes in zip(_parts(world), _copy(world, memory.parts), strict=True):
        vars(part).update(attributes)
    world.replace_journal(memory.journal)
    for directory in world.root.glob("*_[0-9]*"):
        directory.rmdir()
    for directory in world.files:
        directory.mkdir(exist_ok=True)
    for name, app in world.apps.items():
        if world.current(name) not in {None, world.record(name).live}:
            app.current_link.unlink()
            write_pointers(world.host, app)


def _parts(world: World) -> tuple[object, ...]:
    return world, world.clock, world.runtime, world.balancer, world.strangers, world.rules


def _copy(world: World, parts: list[dict[str, object]]) -> list[dict[str, object]]:
    """A copy in which only the parts themselves, the configuration and the open journal are the same."""
    kept = (*_parts(world), world.apps)
    return copy.deepcopy(parts, {id(one): one for one in kept})
