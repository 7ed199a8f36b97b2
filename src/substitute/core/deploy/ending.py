"""How a deployment ends: committed, and settled on the new version; or given up, and settled on the old one."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.strays import tell
from substitute.core.deploy.settle import settle
from substitute.core.deploy.steps import Quietly
from substitute.core.deploy.versions.kept_versions import remove_images, retain_archives
from substitute.core.deploy.versions.pointers import write_pointers
from substitute.core.model.errors import (
    HandedOverError,
    InterruptedByUserError,
    LeftoverError,
    NotReadyError,
    SubstituteError,
    UnmovedError,
)
from substitute.core.model.events import Drained, Notice, Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.settle import Settled
    from substitute.core.deploy.steps import Steps
    from substitute.core.model.slots import SlotName


def commit(attempt: Attempt) -> None:
    """The point of no return: one atomic write names the candidate as live."""
    host, app = attempt.host, attempt.app
    with attempt.phase(Phase.COMMIT):
        now = host.clock.now()
        until = now + app.standby.seconds if _may_stand_by(attempt) else None
        host.journal.commit(app.name, attempt.slot.name, deployment=attempt.id, now=now, standby_until=until)
        write_pointers(host, app)


def _may_stand_by(attempt: Attempt) -> bool:
    """Whether what is live may run on without requests: a rollback would go to it, and starts it as it is.

    After a rollback it is the version that somebody did not want.
    """
    host, app = attempt.host, attempt.app
    before = host.journal.app(app.name).live_slot
    if not app.standby.seconds or attempt.operation == "rollback" or before is None:
        return False
    is_earlier = before.intact and before.commit != attempt.plan.revision.commit
    return is_earlier and not host.adopted(before) and host.runs(before)


def finish(attempt: Attempt) -> None:
    """After the commit: the old instance drains and stops. Nothing here can take the new one down."""
    left = ""
    try:
        if _leaves_the_rest(attempt):
            raise HandedOverError("Its guardian settles.")
        settled = _settle_at_last(attempt, attempt)
        live, drained = settled.live, settled.drained
    except HandedOverError as over:
        attempt.hand_over()
        live = attempt.host.journal.app(attempt.app.name).live
        drained = over.drained or Drained(handed_over=True)
    except LeftoverError as error:
        live, drained, left = error.live, error.drained, error.reason
        attempt.emit(Warned(f"{error.reason} It gets no requests. {error.cure}"))
    except SubstituteError as error:
        raise _half_moved(attempt, error) from error
    if live is not attempt.slot.name:
        gave_out = NotReadyError(
            f"Slot {attempt.slot.name} stopped answering before the old instance was stopped.",
            cure=f"See {attempt.slot.logs}.",
        )
        raise attempt.failed(gave_out, live)
    _tell_of_standby(attempt)
    tell(attempt)
    attempt.note(lambda: retain_archives(attempt.host, attempt.app))
    attempt.note(lambda: remove_images(attempt.host, attempt.app))
    attempt.succeeded(drained, reason=left)


def _leaves_the_rest(attempt: Attempt) -> bool:
    """Whether nothing is left to do but what the guardian would do anyway: it looks at all once more.

    Whoever goes back at once has given all requests to what answered, and the balancer has been read back. To settle
    here would come to the drain, and leave that to the guardian too.
    """
    leaving = attempt.host.journal.app(attempt.app.name).slots[attempt.slot.name.other]
    return attempt.goes_back_at_once and any(one.process for one in leaving.instances)


def _tell_of_standby(attempt: Attempt) -> None:
    """Say how long the version before stands by."""
    host, app = attempt.host, attempt.app
    slot = host.journal.app(app.name).standby(host.clock.now())
    if slot is None:
        return
    ends = "its slot is needed"
    if slot.standby_until not in {None, math.inf}:
        ends = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(slot.standby_until))
    attempt.emit(Notice(f"Slot {slot.name} stands by until {ends}: `substitute rollback` starts nothing."))


def _settle_at_last(attempt: Attempt, steps: Steps) -> Settled:
    """Settle, and once more where that fails: what is committed or given up has no other way to go."""
    host, app = attempt.host, attempt.app
    try:
        return settle(host, app, steps)
    except (
        UnmovedError,
        HandedOverError,
    ):  # that balancer was waited for, and goes on as it did; so does a guardian
        raise
    except SubstituteError:
        return settle(host, app, Quietly(steps.id))


def _half_moved(attempt: Attempt, error: SubstituteError) -> SubstituteError:
    """The new version is live, and its requests could not all be led to it: say where they go."""
    from substitute.core.deploy.readiness.serving import who_serves  # noqa: PLC0415  # of a failure alone

    host, app, new = attempt.host, attempt.app, attempt.slot.name
    served = who_serves(host, app, error)
    if new not in served:
        return attempt.failed(error, served[0] if served else None, problem="" if served else error.reason)
    both = f" Slot {new.other} may get requests too." if new.other in served else ""
    told = attempt.failed(error, new)
    told.serves += both
    told.cure = told.cure or "`substitute up` tries again."
    return told


def give_up(attempt: Attempt, error: SubstituteError) -> SubstituteError:
    """Settle on what the journal says, and say which version serves now."""
    attempt.close(error)
    try:
        if attempt.id is None and isinstance(error, InterruptedByUserError):
            raise error  # nothing was begun: what settling was about to do, the next command does
        settled = _settle_at_last(attempt, attempt.cleanup_steps(error))
        live, problem = settled.live, settled.problem
    except HandedOverError as left:
        attempt.hand_over()
        live, problem = _seen(attempt, left)
        told = f"Slot {attempt.slot.name} still finishes its requests: a background process stops it then."
        attempt.emit(Notice(told))
    except LeftoverError as left:
        live, problem = left.live, left.problem
        attempt.emit(Warned(f"{left.reason} {left.cure}"))
    except SubstituteError as trouble:
        live, problem = _seen(attempt, trouble)
        if trouble is not error:
            attempt.emit(
                Warned(f"Not everything could be cleaned up: {trouble.reason} `substitute up` tries again.")
            )
    return attempt.failed(error, live, problem=problem)


def _seen(attempt: Attempt, trouble: SubstituteError) -> tuple[SlotName | None, str]:
    """Who serves where settling did not come to its end, and why nothing does."""
    record = attempt.host.journal.app(attempt.app.name)
    if record.live is None or record.stopped:
        return None, "It was stopped by hand." if record.live else ""
    from substitute.core.deploy.readiness.serving import who_serves  # noqa: PLC0415  # as above

    served = who_serves(attempt.host, attempt.app, trouble)
    if not served:
        return record.live, trouble.reason
    return record.live if record.live in served else served[0], ""
