"""The health check of an instance, asked once: a request to each of its endpoints, or a command, which needs none."""

from __future__ import annotations

import signal
from functools import lru_cache
from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import of_engine
from substitute.core.deploy.secrets import known
from substitute.core.model.errors import ConfigError
from substitute.core.ports.prober import Answer
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.health import Health
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Program
    from substitute.core.model.records import SlotRecord

    Ask = Callable[[], Answer]
    """Asks once. Raises nothing but what a signal raises."""

_LONGEST = 10.0
"""Seconds that a command may take, however long the health check as a whole may."""


def health_check(host: Host, health: Health, instance: InstanceRecord, program: Callable[[], Program]) -> Ask:
    """What asks `instance` whether it is well. `program` tells what runs there, and is called where that matters.

    What was adopted was built elsewhere: the command of this version is not there, and a connection is enough.
    """
    if not health.command:
        return lambda: _requests(host, health, instance)
    if host.adopted_as(instance):
        listens = replace(health, kind="tcp", command="")
        return lambda: _requests(host, listens, instance)
    once = lru_cache(maxsize=1)(program)
    return lambda: _command(host, health, once())


def program_of(host: Host, app: App, slot: SlotRecord, instance: InstanceRecord) -> Program:
    """What runs as `instance`, as it was proven; without the variables of an `env_file` that cannot be used."""
    try:
        proven = host.proven(app, slot)
    except ConfigError:
        proven = slot.version.applied_to(app, {}) if slot.version else app
    kept = known(host, slot.full_name, proven.secrets.sources) or {}  # nobody need be signed in for a look
    return host.program(proven.with_secrets(kept), slot, instance, host.environment(app, slot))


def _requests(host: Host, health: Health, instance: InstanceRecord) -> Answer:
    """The first bad answer of an endpoint, else the last one."""
    answer = Answer(good=False, seen="nowhere does any of it answer")
    for endpoint in host.answering(instance):
        answer = host.prober.probe(endpoint, health)
        if not answer.good:
            break
    return answer


def _command(host: Host, health: Health, program: Program) -> Answer:
    """Run it where the instance runs, and as it does. It is marked as the slot's, and ends with it at the latest."""
    limit = min(health.timeout, _LONGEST)
    try:
        shell = ["/bin/sh", "-c", health.command]
        engine = host.engine() if program.container else None
        ended = host.commands.run(
            engine.entering(shell, program.name) if engine else shell,
            directory=host.root if engine else program.directory,
            environment={**program.environment, **of_engine(host)} if engine else program.environment,
            on_line=lambda _: None,
            on_start=lambda _: None,
            timeout=limit,
            user=program.user,
            probes=engine is None,  # of the host's groups nothing is seen in a container
        )
    except OSError as error:
        return Answer(good=False, seen=f"it cannot be run: {error.strerror}")
    except ConfigError as error:
        return Answer(good=False, seen=f"it cannot be run: {error.reason}")
    if ended.timed_out:
        return Answer(good=False, seen=f"no end within {limit:g} s", lines=ended.tail)
    if ended.status < 0:
        return Answer(good=False, seen=signal.Signals(-ended.status).name, lines=ended.tail)
    return Answer(good=ended.status == 0, seen=f"exit status {ended.status}", lines=ended.tail)
