"""The table [app.NAME.process.PROCESS]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.models.deployment import StopConfig
from substitute.config.models.health import ProcessHealthConfig
from substitute.config.models.limits import LimitsConfig
from substitute.config.naming import Environment
from substitute.config.tables import Refused, Table, key, optional, table
from substitute.config.values import Command, InstancesOrNone, Switch, User, choice

if TYPE_CHECKING:
    from collections.abc import Collection


class ProcessConfig(Table):
    """A process of the app beside `web`, which answers no requests: a worker, a clock. See docs/processes.md.

    PROCESS is made of a-z, 0-9 and -, begins with a letter, and has at most 16 characters.
    """

    start = optional(
        Command,
        "The shell command that runs it in the foreground. It gets the variables of the app, but no $PORT. "
        "Without it: the line `PROCESS:` of the Procfile.",
        example="celery -A shop worker",
    )
    instances = key(
        InstancesOrNone,
        "How many instances of it run. 0: none, for a line of the Procfile that is not to run.",
        default=1,
    )
    order = key(
        choice("stop-first", "start-first"),
        "`stop-first`: the old version's instances have ended before the new ones start, so that it never runs twice. "
        "`start-first`: the new ones run before the old ones are told to stop.",
        default="stop-first",
    )
    background = key(
        Switch,
        "Whether the old version's instances may finish their job behind the deployment, which ends meanwhile. They "
        'have `stop.timeout` for it. Needs `order = "start-first"`.',
        default=False,
    )
    user = optional(User, "The user that runs it. Without it: the app's.", example="shop")
    env = key(
        Environment,
        "Variables for this process alone, beside those of the app.",
        default={},
        example={"QUEUE": "mail"},
    )
    health = table(ProcessHealthConfig)
    stop = table(StopConfig)
    limits = table(LimitsConfig)

    def agree(self, written: Collection[str]) -> None:
        """Two versions of it run at once where the old one finishes its job in the background."""
        del written
        if self.background and self.order != "start-first":
            raise Refused(
                "background = true lets the old version finish its job while the new one runs; "
                'write order = "start-first"'
            )
