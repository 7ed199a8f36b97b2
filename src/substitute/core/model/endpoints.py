"""Which slot gets which of the configured ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.slots import SlotName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.model.apps import App
    from substitute.core.model.slots import Endpoint

    Endpoints = tuple[Endpoint, ...]


def ports_of(places: Iterable[Endpoints]) -> set[int]:
    """All ports among them."""
    return {endpoint.port for endpoints in places for endpoint in endpoints}


def assign(app: App, kept: Mapping[SlotName, Endpoints], others: set[int]) -> dict[SlotName, Endpoints]:
    """The endpoints of each slot: those that run keep theirs, an idle one gets what nothing of ours listens on.

    That is its own of the configured pair, or the other's, so that any new pair works, also one that overlaps the old.
    `others` are the ports that other apps still use: where neither is free, a start tells what holds it.
    """
    found = dict(kept)
    for foreign in (others, set[int]()):
        for swapped in (False, True):
            for name in SlotName:
                place = app.slots[name.other if swapped else name].endpoints
                if name not in found and not ports_of([place]) & (foreign | ports_of(found.values())):
                    found[name] = place
    return found
