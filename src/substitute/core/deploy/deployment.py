"""Deploy, rollback and restart, told as a story.

    lock; settle; begin(candidate) in the journal; update; build; start; wait until ready; admit; verify;
    COMMIT (one atomic write: live = candidate); settle

Whatever fails before the commit: the journal still names the old slot, and `settle` makes it so.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.deploy.attempt import Attempt
from substitute.core.deploy.bypass import require_led_here
from substitute.core.deploy.early_exit import explained
from substitute.core.deploy.hooks import AHEAD, require_executable
from substitute.core.deploy.instances import require_no_strangers, start_instance
from substitute.core.deploy.plan import Plan
from substitute.core.deploy.pointers import write_pointers
from substitute.core.deploy.readiness import answers_in_time, await_ready, observe_for
from substitute.core.deploy.serving import who_serves
from substitute.core.deploy.settle import Quietly, settle
from substitute.core.deploy.unchanged import already_live
from substitute.core.deploy.wrappers import barrier
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import (
    BuildError,
    HandedOverError,
    InterruptedByUserError,
    LeftoverError,
    NotReadyError,
    SubstituteError,
    UnmovedError,
    UsageError,
)
from substitute.core.model.events import Drained, Notice, Output, Unchanged, Warned
from substitute.core.model.slots import Phase
from substitute.core.model.unexpected import expected
from substitute.core.ports.source import Revision
from substitute.core.state.lock import deployment_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.deploy.readiness import LogTail
    from substitute.core.deploy.settle import Settled, Steps
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.model.slots import SlotName

    Choose = Callable[[Host, App, AppRecord], Plan]


def deploy(host: Host, app: App, commit: str | None = None, *, if_changed: bool = False) -> None:
    """Make `commit` (default: the newest of the branch) live without failing a request.

    With `if_changed`, what is live already and serves is left alone, if substitute.toml says of it what it said.
    Emits the events of the contract. Raises DeploymentFailedError when the earlier version still serves,
    NothingServesError when none does, InterruptedByUserError, LockedError, UsageError for a bad commit.
    """
    _operate(host, app, "deploy", into_next_slot("deploy", commit), if_changed=if_changed)


def rollback(host: Host, app: App) -> None:
    """Make the commit live that was live before: from its slot as it stands where that still holds it.

    Raises as `deploy` does, and UsageError where there is nothing to go back to.
    """

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        live = record.live_slot
        target = host.journal.rollback_commit(app.name, live.commit if live else None)
        if live is None or target is None:
            raise UsageError(
                f"There is no earlier version of {app.name} to go back to.",
                fact="What was adopted was built elsewhere." if _was_adopted(host, app) else "",
                cure="See `substitute history`; `substitute deploy COMMIT` goes to any commit.",
            )
        slot = record.slots[live.name.other]
        source = host.source(app)
        if slot.intact and slot.commit == target and source.current(slot.directory) == target:
            return Plan("rollback", slot.name, _remembered(host, app, target), update=False)
        if app.remembered:
            raise UsageError(
                f"Slot {slot.name} no longer holds {target[:10]}, which was live before.",
                fact="It would have to be built again, and substitute.toml does not say how.",
                cure="Correct it first: `substitute config` lists what is wrong.",
            )
        host.emit(Notice(f"Slot {slot.name} no longer holds {target[:10]}: it is fetched and built again."))
        return Plan("rollback", slot.name, _resolve(host, app, slot, target, fetch=False), update=True)

    _operate(host, app, "rollback", choose)


def _remembered(host: Host, app: App, commit: str) -> Revision:
    """A commit that was deployed before, by what the history says of it."""
    of_it = (one for one in host.journal.history(app.name) if one.commit == commit and one.subject)
    known = next(of_it, None)
    return Revision(commit, known.subject if known else "", "as it stands", known.tag if known else "")


def _was_adopted(host: Host, app: App) -> bool:
    return any(one.operation == "adopt" for one in host.journal.history(app.name))


def restart(host: Host, app: App) -> None:
    """Make the live commit live again, freshly built in the other slot. Raises as `deploy` does."""

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        live = record.live_slot
        if live and live.commit is None:
            raise UsageError(
                f"Which commit of {app.name} runs is not known.",
                fact="It was adopted, and what it runs in is no clone of `repo`: it cannot be built here.",
                cure="`substitute deploy` replaces it by the newest commit.",
            )
        if live is None or live.commit is None:
            raise UsageError(f"No version of {app.name} is live yet.", cure="Type `substitute deploy`.")
        slot = record.slots[live.name.other]
        revision = _resolve(host, app, slot, live.commit, fetch=False)
        return Plan("restart", slot.name, revision, update=True)

    _operate(host, app, "restart", choose)


def into_next_slot(operation: str, commit: str | None) -> Choose:
    """Choose `commit`, by default the newest of the branch, for the slot that is not live."""

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        slot = record.slots[record.next_slot]
        return Plan(operation, slot.name, _resolve(host, app, slot, commit), update=True)

    return choose


def _resolve(host: Host, app: App, slot: SlotRecord, commit: str | None, *, fetch: bool = True) -> Revision:
    # What was built there once is a clone of ours, and may be replaced when it is broken.
    return host.source(app).resolve(slot.directory, commit, fetch=fetch, ours=slot.commit is not None)


def _operate(host: Host, app: App, operation: str, choose: Choose, *, if_changed: bool = False) -> None:
    with working_on(host, app, operation) as (attempt, interrupts):
        with given_up_on_error(attempt):
            require_no_strangers(host, app, host.journal.app(app.name))
            host.journal.remember_environment(app.name, host.caller)
            settled = settle(host, app, interrupts=interrupts)
            with interrupts.allowed():
                plan, took = _choose(attempt, choose)
                same = (
                    already_live(host, app, plan.revision.commit, settled) if operation == "deploy" else None
                )
                if same and if_changed and not same.changed:
                    host.emit(Unchanged(app.name, same.slot, same.commit))
                    return
                require_led_here(host, host.journal.app(app.name))
                attempt.begin(plan, chosen_in=took)
                if same:
                    attempt.emit(Notice(same.message))
                process, log = bring_up(attempt)
                _admit(attempt, process, log)
            _commit(attempt)
        _finish(attempt)


@contextmanager
def working_on(host: Host, app: App, operation: str) -> Iterator[tuple[Attempt, Interrupts]]:
    """Hold the app's lock, its guardian awake and Ctrl-C held back, for one attempt."""
    with (
        deployment_lock(host.lock_path(app.name), operation) as lock,
        Interrupts(ends_soon(host.emit)) as interrupts,
    ):
        host.journal.register(app)
        with host.guardian(app.name) as hand_over:
            attempt = Attempt(host, app, operation, lock, interrupts=interrupts, hand_over=hand_over)
            yield attempt, interrupts


@contextmanager
def given_up_on_error(attempt: Attempt) -> Iterator[None]:
    """Whatever fails in here leaves no candidate behind; the error raised says which version serves."""
    try:
        yield
    except SubstituteError as error:
        raise _give_up(attempt, error) from error
    except Exception as error:  # a full disk, or a bug: it leaves no candidate behind either
        raise _give_up(attempt, expected(error)) from error


def begin(attempt: Attempt, choose: Choose) -> None:
    """Choose slot and commit, and write the attempt into the journal."""
    plan, took = _choose(attempt, choose)
    attempt.begin(plan, chosen_in=took)


def _choose(attempt: Attempt, choose: Choose) -> tuple[Plan, float]:
    """The plan, and how long it took to make."""
    host, app = attempt.host, attempt.app
    began = host.clock.monotonic()
    plan = choose(host, app, host.journal.app(app.name))
    return plan, host.clock.monotonic() - began


def bring_up(attempt: Attempt) -> tuple[Process, LogTail]:
    """Update, build and start the candidate, and return when it is ready; it gets no traffic."""
    host, app = attempt.host, attempt.app
    attempt.hook("begin")
    if attempt.plan.update:
        attempt.say_what_it_costs()
        attempt.hook("pre_checkout")
        with attempt.phase(Phase.UPDATE):
            source, commit = host.source(app), attempt.plan.revision.commit
            returns = attempt.slot.intact and not app.clean and source.returns(attempt.slot.directory, commit)
            host.journal.spoil(app.name, attempt.slot.name, returns_from=commit if returns else None)
            source.update(attempt.slot.directory, commit, clean=app.clean)
            require_executable(host, app, attempt.slot, AHEAD[:-1] if attempt.is_check else AHEAD)
        attempt.hook("pre_install")
        with attempt.phase(Phase.BUILD):
            _build(attempt)
        attempt.hook("post_install")
    process, log = _start(attempt)
    if not attempt.is_check:  # a check sends the signal, and sees
        _warn_of_wrappers(attempt, process)
    attempt.hook("post_start")
    return process, log


def _start(attempt: Attempt) -> tuple[Process, LogTail]:
    """Start the candidate, and return when it is ready."""
    host, app = attempt.host, attempt.app
    caller = host.caller if attempt.plan.update else None
    attempt.hook("pre_start")
    with attempt.phase(Phase.START), explained(host, app, attempt.slot, caller):
        if host.journal.app(app.name).live is None:
            # Where nothing serves, this one's port is not to be reached before it is ready.
            host.route(app.name, {})
        process, log, version = start_instance(host, app, attempt.slot, caller=caller)
    with (
        attempt.phase(Phase.READY),
        explained(host, app, attempt.slot, caller),
        attempt.excerpt(Phase.READY) as show,
    ):
        await_ready(host, version.health, attempt.slot, process, show=show, log=log, start=version.start)
        host.journal.proven(attempt.slot, version)
    return process, log


def _warn_of_wrappers(attempt: Attempt, process: Process) -> None:
    """Say where SIGTERM will not reach what listens: each later stop is then slow, or cuts requests off."""
    slot = attempt.slot
    found = barrier(attempt.host.observer.members(slot.endpoints[0], process), process)
    if found:
        attempt.emit(
            Warned(
                f"SIGTERM will not reach the app: {found.told}. Its stop may then cut off requests, or last as long as "
                f"stop.timeout, {slot.stop_timeout:g}s. To fix it, {found.cure}. `substitute check` tries it."
            )
        )


def _admit(attempt: Attempt, process: Process, log: LogTail) -> None:
    """Give the candidate its share of the traffic, and watch it; the old version serves the rest, untouched."""
    host, app = attempt.host, attempt.app
    shares = _shares(attempt)
    if why := host.pending(app.name, shares):
        with attempt.phase(Phase.RELOAD):
            attempt.show(Phase.RELOAD)(why)
            host.reload(app.name, shares)
    with attempt.phase(Phase.ADMIT):
        host.route(app.name, shares)
    with attempt.phase(Phase.VERIFY):
        observe_for(host, app, attempt.slot, process, seconds=app.verify_for, log=log)
    attempt.hook("running")


def _shares(attempt: Attempt) -> dict[SlotName, int]:
    """What both slots get while the candidate is verified; all to it where nothing else answers."""
    host, app, candidate = attempt.host, attempt.app, attempt.plan.slot
    live = host.journal.app(app.name).live_slot
    share = app.verify_share if live and answers_in_time(host, app, live) else 100
    return {candidate: share, candidate.other: 100 - share}


def _build(attempt: Attempt) -> None:
    host, app = attempt.host, attempt.app
    deadline = host.clock.monotonic() + app.build_timeout
    for command in app.build:
        attempt.emit(Output(Phase.BUILD, f"$ {command}"))
        ended = host.commands.run(
            ["/bin/sh", "-c", command],
            directory=attempt.slot.directory,
            environment=attempt.environment(),
            on_line=attempt.show(Phase.BUILD),
            on_start=lambda process: host.journal.command_started(app.name, process),
            timeout=max(deadline - host.clock.monotonic(), 0.0),
            user=app.user,
        )
        host.journal.forget_commands(app.name)
        if ended.timed_out:
            raise BuildError(
                f"The build had not ended after {app.build_timeout:g}s: `{command}` was ended.",
                fact="\n".join(f"  | {line}" for line in ended.tail),
                cure=f"If the build needs longer, raise app.{app.name}.build_timeout.",
            )
        if ended.status:
            raise BuildError(
                f"The build command `{command}` failed with exit status {ended.status}.",
                fact="\n".join(f"  | {line}" for line in ended.tail),
                cure="Fix the build and deploy again.",
            )
    host.journal.built(app.name, attempt.slot.name, attempt.plan.revision.commit)


def _commit(attempt: Attempt) -> None:
    with attempt.phase(Phase.COMMIT):
        now = attempt.host.clock.now()
        attempt.host.journal.commit(attempt.app.name, attempt.slot.name, deployment=attempt.id, now=now)
        write_pointers(attempt.host, attempt.app)


def _finish(attempt: Attempt) -> None:
    """After the commit: the old instance drains and stops. Nothing here can take the new one down."""
    left = ""
    try:
        settled = _settle_at_last(attempt, attempt)
        live, drained = settled.live, settled.drained
    except HandedOverError:
        attempt.hand_over()
        live, drained = attempt.host.journal.app(attempt.app.name).live, Drained(handed_over=True)
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
    attempt.succeeded(drained, reason=left)


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
    host, app, new = attempt.host, attempt.app, attempt.slot.name
    served = who_serves(host, app, error)
    if new not in served:
        return attempt.failed(error, served[0] if served else None, problem="" if served else error.reason)
    both = f" Slot {new.other} may get requests too." if new.other in served else ""
    told = attempt.failed(error, new)
    told.serves += both
    told.cure = told.cure or "`substitute up` tries again."
    return told


def _give_up(attempt: Attempt, error: SubstituteError) -> SubstituteError:
    """Settle on what the journal says, and say which version serves now."""
    attempt.close(error)
    try:
        if attempt.id is None and isinstance(error, InterruptedByUserError):
            raise error  # nothing was begun: what settling was about to do, the next command does
        settled = _settle_at_last(attempt, attempt.giving_up(error))
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
    served = who_serves(attempt.host, attempt.app, trouble)
    if not served:
        return record.live, trouble.reason
    return record.live if record.live in served else served[0], ""
