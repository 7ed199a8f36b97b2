"""A whole root at once: everything up after a reboot, everything down."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.serving import in_words, told_truly
from substitute.core.deploy.running.instances import remains
from substitute.core.deploy.running.scheduler import keep_scheduler
from substitute.core.deploy.settle import settle
from substitute.core.deploy.steps import Quietly
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import (
    InterruptedByUserError,
    LockedError,
    NothingServesError,
    RemainsError,
    SubstituteError,
    UsageError,
)
from substitute.core.model.events import Notice, Warned
from substitute.core.model.unexpected import only_expected
from substitute.core.operate.guests import pause_guest, resume_guest
from substitute.core.operate.one_offs import tell_what_goes_on
from substitute.core.state.lock import RECOVERY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App


def up(host: Host, apps: Iterable[App], *, guests: bool = True, operation: str = "up") -> None:
    """Settle every app: after a reboot, a crash of anything, or a killed deployer. One that fails keeps none down.

    Raises NothingServesError when a version that should serve could not be brought to it; LockedError, UsageError
    or SubstituteError when some app could not be looked after, or the balancer can't reload for what is new in its
    configuration; InterruptedByUserError.
    """
    chosen, problems = list(apps), dict[str, SubstituteError]()
    with Interrupts(ends_soon(host.emit)) as interrupts:
        try:
            for app in chosen:
                try:
                    with only_expected():
                        _bring_up(host, app, operation, interrupts)
                except InterruptedByUserError:
                    raise
                except SubstituteError as error:
                    problems[app.name] = error
            if guests:
                _resume_guests(host)
                if not problems:
                    with only_expected():
                        host.renew()
        except InterruptedByUserError as error:
            raise _interrupted(host, chosen, error, cure="`substitute up` goes on.") from error
    if problems:
        raise _not_all(problems, "Not everything is in order.")


def _bring_up(host: Host, app: App, operation: str, interrupts: Interrupts) -> None:
    with ExitStack() as held:
        with interrupts.allowed():
            lock = held.enter_context(working(host, app, operation))
        host.journal.register(app)
        if not host.journal.environment(app.name):
            host.journal.remember_environment(app.name, host.caller)
        try:
            settled = settle(host, app, Quietly(lock=lock), interrupts=interrupts)
        except (InterruptedByUserError, NothingServesError):
            raise
        except SubstituteError as error:
            raise told_truly(host, app, error) from error
        finally:
            if operation != RECOVERY:  # a guardian sleeps itself
                _have_it_end(host, app)
    if app.removed:
        host.emit(
            Warned(
                f"{app.name} is not in substitute.toml any more, and runs as the journal has it. "
                f"`substitute down -a {app.name}` stops it for good."
            )
        )
    if settled.live is None:
        why = "stopped by hand" if settled.problem else "never deployed"
        host.emit(Notice(f"{app.name}: {why}."))
    elif settled.problem:
        raise NothingServesError(settled.problem)
    else:
        host.emit(Notice(f"{app.name}: slot {settled.live} serves."))
    if settled.missing:
        raise SubstituteError(
            f"Not all of {app.name} runs.",
            fact="\n".join(settled.missing),
            cure="See `substitute status`; `substitute up` tries again.",
        )


def _have_it_end(host: Host, app: App) -> None:
    """Have a guardian sleep until the time of what stands by or is held: a reboot or a kill ends the one that did."""
    until = host.journal.app(app.name).unserved_until
    if until is None or until == math.inf:
        return
    try:
        with host.guardian(app.name) as hand_over:
            hand_over()
    except SubstituteError as error:
        host.emit(Warned(f"Nobody ends what waits of {app.name} at its time. {error.reason}"))


def _resume_guests(host: Host) -> None:
    for guest in host.journal.guests().values():
        try:
            with only_expected():
                resume_guest(host, guest)
        except InterruptedByUserError:
            raise
        except SubstituteError as error:
            host.emit(Warned(f"{guest.name}: {error.reason}"))


def down(host: Host, apps: Iterable[App], *, everything: bool) -> None:
    """Take the traffic from every instance of `apps`, let them finish, and stop them.

    With `everything`, guests, the balancer and the runtime end too. What was live, and each guest, is remembered:
    `up` brings it back. The apps stay locked until all of that is done, so no deployment begins that would be
    ended with it.
    """
    chosen, problems = list(apps), dict[str, SubstituteError]()
    with Interrupts(ends_soon(host.emit)) as interrupts, ExitStack() as held:
        try:
            for app in chosen:
                with interrupts.allowed():
                    _lock(host, app, held)
            idle = not any(_runs(host, app) for app in chosen)
            for app in chosen:
                try:
                    with only_expected():
                        _take_down(host, app, interrupts, for_good=app.removed and not everything)
                except InterruptedByUserError:
                    raise
                except SubstituteError as error:
                    problems[app.name] = error
        except InterruptedByUserError as error:
            cure = "`substitute down` goes on, and `substitute up` brings back what was live."
            raise _interrupted(host, chosen, error, cure=cure) from error
        if everything:
            problems |= _pause_guests(host)
        if problems:
            raise _not_all(problems, "Not everything is down.")
        if idle:
            host.emit(Notice(f"Nothing of {' and '.join(app.name for app in chosen)} was running."))
        if everything:
            with only_expected():
                keep_scheduler(host, ends=True)
                host.balancer.stop()
                _end_runtime(host)


def _end_runtime(host: Host) -> None:
    try:
        host.runtime.shutdown()
    except RemainsError as error:
        host.emit(Warned(str(error)))


def _pause_guests(host: Host) -> dict[str, SubstituteError]:
    """Stop all that can be stopped; what could not be."""
    problems = {}
    for guest in host.journal.guests().values():
        try:
            with only_expected():
                pause_guest(host, guest)
        except SubstituteError as error:
            problems[guest.name] = error
    return problems


def _lock(host: Host, app: App, held: ExitStack) -> None:
    try:
        held.enter_context(working(host, app, "down"))
    except LockedError as error:
        raise LockedError(
            f"Nothing was stopped: another command is working on {app.name}.",
            fact=error.fact,
            cure=error.cure,
        ) from error


def _runs(host: Host, app: App) -> bool:
    """Whether any instance of it does; where that can't be told, as if it did."""
    with suppress(Exception):
        known = app.name in host.journal.names()
        return known and any(remains(host, app, slot) for slot in host.journal.app(app.name).slots.values())
    return True


def _take_down(host: Host, app: App, interrupts: Interrupts, *, for_good: bool) -> None:
    with interrupts.allowed():
        host.journal.register(app)
    record = host.journal.app(app.name)
    running = [slot for slot in record.slots.values() if remains(host, app, slot)]
    if running or any(slot.share for slot in record.slots.values()) or host.journal.unfinished(app.name):
        settle(host, app, serve=False, interrupts=interrupts)
    host.dismiss(app.name)  # nothing stands by any more, and `up` brings up the live version alone
    if for_good:
        host.journal.give_up(app.name)
    for slot in running:
        if host.edges is None or not remains(host, app, slot):  # another edge may need it
            host.emit(Notice(f"{slot.full_name} stopped."))
    tell_what_goes_on(host, app.name)


def _interrupted(
    host: Host, apps: Iterable[App], error: InterruptedByUserError, *, cure: str
) -> InterruptedByUserError:
    """It says what is so now, for nothing of it is as it was meant to be."""
    with only_expected():
        so = "\n".join(in_words(host, app) for app in apps)
    return InterruptedByUserError(error.what, fact=so, cure=cure)


def _not_all(problems: Mapping[str, SubstituteError], what: str) -> SubstituteError:
    """One error for all of them; its exit status is the gravest, or what they have in common."""
    fact = "\n".join(f"{name}: {error.reason}" for name, error in problems.items())
    first = next(iter(problems.values()))
    if any(isinstance(error, NothingServesError) for error in problems.values()):
        return NothingServesError(
            "Not everything that should serve does.",
            fact=fact,
            cure="See `substitute logs`, then deploy a version that runs, or `substitute rollback`.",
        )
    kinds = (LockedError, UsageError)
    kind = next((one for one in kinds if all(isinstance(e, one) for e in problems.values())), SubstituteError)
    return kind(what, fact=fact, cure=first.cure or "`substitute up` tries again.")
