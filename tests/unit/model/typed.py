"""What is typed, by its name, and typed again with a mishap at each moment."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

from substitute.core.model.slots import SlotName
from tests.unit.world.memory import go_back, remember
from tests.unit.world.mishaps import Mishap, Outcome, What

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.model.operator import Operator


_TYPED: dict[str, Callable[..., Outcome]] = {
    "deploy": lambda operator, *mishaps: operator.deploy("shop", "v3", *mishaps),
    "deploy of what the slot holds": lambda operator, *mishaps: operator.deploy("shop", "v1", *mishaps),
    "deploy of a bad version": lambda operator, *mishaps: operator.deploy("shop", "sick", *mishaps),
    "first deploy": lambda operator, *mishaps: operator.deploy("blog", "v1", *mishaps),
    "rollback": lambda operator, *mishaps: operator.rollback("shop", *mishaps),
    "restart": lambda operator, *mishaps: operator.restart("shop", *mishaps),
    "check": lambda operator, *mishaps: operator.check("shop", "v3", *mishaps),
    "start": lambda operator, *mishaps: operator.start("shop", SlotName.A, *mishaps),
    "stop": lambda operator, *mishaps: operator.stop("shop", SlotName.B, *mishaps, force=True),
    "up": lambda operator, *mishaps: operator.up(*mishaps),
    "down": lambda operator, *mishaps: operator.down(*mishaps),
    "recovery": lambda operator, *mishaps: operator.guardian("shop", *mishaps),
    "start guest": lambda operator, *mishaps: (operator.stop_guest(), operator.start_guest(*mishaps))[1],
    "stop guest": lambda operator, *mishaps: operator.stop_guest(*mishaps),
}
COMMANDS = tuple(_TYPED)
type_ = {
    **_TYPED,
    "start of the live slot": lambda operator, *mishaps: operator.start("shop", SlotName.B, *mishaps),
    # Commands that run beside the instances.
    "run": lambda operator, *mishaps: operator.run("shop", None, *mishaps),
    "run in the slot that is not live": lambda operator, *mishaps: operator.run("shop", SlotName.A, *mishaps),
    # Versions that are kept.
    "rollback to one that is kept": lambda operator, *mishaps: operator.rollback("shop", *mishaps, to="v1"),
    "deploy of another": lambda operator, *mishaps: operator.deploy("shop", "stubborn", *mishaps),
    # An app that was not started here.
    "adopt": lambda operator, *mishaps: operator.adopt("blog", *mishaps),
    "deploy over it": lambda operator, *mishaps: operator.deploy("blog", "v2", *mishaps),
    "deploy of a bad version over it": lambda operator, *mishaps: operator.deploy("blog", "sick", *mishaps),
    # An app of several processes.
    "deploy of several": lambda operator, *mishaps: operator.deploy("mall", "v3", *mishaps),
    "deploy of a bad version of several": lambda operator, *mishaps: operator.deploy(
        "mall", "sick", *mishaps
    ),
    "rollback of several": lambda operator, *mishaps: operator.rollback("mall", *mishaps),
    "recovery of several": lambda operator, *mishaps: operator.guardian("mall", *mishaps),
    # The version before still has requests.
    "deploy at once": lambda operator, *mishaps: operator.deploy("shop", "busy", *mishaps, now=True),
    "rollback at once": lambda operator, *mishaps: operator.rollback("shop", *mishaps, now=True),
    # The version before stands by.
    "end of the standby": lambda operator, *mishaps: operator.end_standby("shop", *mishaps),
    # A candidate is held.
    "hold": lambda operator, *mishaps: operator.hold("shop", "v3", *mishaps),
    "promote": lambda operator, *mishaps: operator.promote("shop", *mishaps),
    "abort": lambda operator, *mishaps: operator.abort("shop", *mishaps),
    "hold of several": lambda operator, *mishaps: operator.hold("mall", "v3", *mishaps),
    "promote of several": lambda operator, *mishaps: operator.promote("mall", *mishaps),
    # Crons.
    "schedule": lambda operator, *mishaps: operator.schedule(*mishaps),
}
"""All that the tests type, by its name."""
DEPLOYMENTS = (
    *("deploy", "deploy of what the slot holds", "deploy of a bad version"),
    *("first deploy", "rollback", "restart", "check"),
)
"""What is given up as a whole where one thing goes wrong, or is done as a whole."""


EVERY = int(os.environ.get("EVERY", "30"))
"""Which moments of a command are tried: 1 is each, 30 each thirtieth."""


def each(operator: Operator, command: str, what: What, *, every: int = EVERY) -> Iterator[Outcome]:
    """Type `command` again and again from the same point, with `what` one moment later each time, or `every` moments.

    As in a Latin square, another mishap begins at another moment, and so does another command: what a command does is
    met at each of its moments, by one mishap or another. A command of few moments is tried at each of them.
    """
    before = remember(operator.world)
    turn = list(What).index(what) + list(type_).index(command)
    met = 0
    for at in count(1 + turn % every, every):
        go_back(operator.world, before)
        outcome = type_[command](operator, Mishap(what, at))
        if not outcome.disturbed:
            break
        met += 1
        yield outcome
    if every == 1:
        assert met >= 3
    elif not met:
        go_back(operator.world, before)
        yield from each(operator, command, what, every=1)
