"""Deploy, rollback and restart, told as a story.

    lock; settle; begin(candidate) in the journal; update; build; release; start; wait until ready; admit;
    verify; COMMIT (one atomic write: live = candidate); settle

Whatever fails before the commit: the journal still names the old slot, and `settle` makes it so.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from substitute.core.deploy.attempt import Attempt
from substitute.core.deploy.candidate import admit, bring_up, change_workers
from substitute.core.deploy.choosing import (
    earlier_commit,
    held_one,
    into_next_slot,
    live_again,
    released_elsewhere,
    tagged,
    to_earlier,
)
from substitute.core.deploy.ending import commit, finish, give_up
from substitute.core.deploy.running.bypass import require_led_here
from substitute.core.deploy.running.instances import require_no_strangers
from substitute.core.deploy.running.keeper import require_keeper
from substitute.core.deploy.settle import settle
from substitute.core.deploy.versions.release_guard import migration_left
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import SubstituteError, UsageError
from substitute.core.model.events import Notice, Unchanged, Warned
from substitute.core.model.unexpected import expected
from substitute.core.state.hand_lock import locks_on, require_unlocked
from substitute.core.state.lock import holder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.deploy.choosing import Choose
    from substitute.core.deploy.plan import Plan
    from substitute.core.deploy.settle import Settled
    from substitute.core.deploy.unchanged import AlreadyLive
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord

    Aim = Callable[[Host, App, AppRecord], str | None]


def deploy(
    host: Host,
    app: App,
    commit: str | None = None,
    *,
    sha256: str | None = None,
    if_changed: bool = False,
    force: bool = False,
    now: bool = False,
    hold_for: float | None = None,
    skip_release: bool = False,
    tag: str = "",
    chosen: Choose | None = None,
) -> None:
    """Make `commit` (default: the newest of the branch; or what was `chosen`) live without failing a request.

    An archive must have this `sha256`. With `if_changed`, what is live already and serves is left alone, if
    substitute.toml says of it what it said. So is, unless with `force`, the live version of an app that watches paths,
    where none of them differs in `commit`. With `now`, requests that an earlier version still finishes are cut.

    With `skip_release`, its `release` has run on another host, for this one too; `tag` is one that led to it there.

    With `hold_for` so many seconds, it does not become live: it is ready, and waits for `promote` or `abort`.

    Emits the events of the contract. Raises DeploymentFailedError when the earlier version still serves,
    NothingServesError when none does, InterruptedByUserError, LockedError, UsageError for a bad commit.
    """
    if hold_for is not None and app.runs_once:
        raise UsageError(
            f"A version of {app.name} cannot be held.",
            fact='It would run beside the live one, which order = "stop-first" forbids.',
        )
    spared = not force and (if_changed or bool(app.watch))
    choose = chosen or into_next_slot("deploy", commit, sha256=sha256)
    if skip_release:
        choose = released_elsewhere(choose)
    if tag:
        choose = tagged(choose, tag)
    _operate(host, app, "deploy", choose, spared=spared, now=now, hold_for=hold_for)


def rollback(
    host: Host, app: App, commit: str | None = None, *, force: bool = False, now: bool = False
) -> None:
    """Make the commit live that was live before, or `commit`: as it was built where that is kept.

    With `now`, requests that an earlier version still finishes are cut. Raises as `deploy` does, and UsageError where
    there is nothing to go back to, or where without `force` it would go back across a contract (see `release_guard`).
    """
    _operate(
        host, app, "rollback", to_earlier(commit, force=force), aim=partial(earlier_commit, commit), now=now
    )


def promote(host: Host, app: App, *, now: bool = False) -> None:
    """Make what is held live. Raises as `deploy` does, and UsageError where nothing is held."""
    _operate(host, app, "promote", held_one, now=now)


def restart(host: Host, app: App) -> None:
    """Make the live commit live again, freshly built in the other slot. Raises as `deploy` does."""
    _operate(host, app, "restart", live_again)


def _operate(
    host: Host,
    app: App,
    operation: str,
    choose: Choose,
    *,
    spared: bool = False,
    now: bool = False,
    hold_for: float | None = None,
    aim: Aim | None = None,
) -> None:
    """Do it; what is `spared` where it is live already is then left alone. With `now` no drain is waited for."""
    if operation != "rollback":  # and not only after another command was waited for
        require_unlocked(host.journal, app.name)
    with ExitStack() as until_free:
        if now or (operation == "rollback" and _is_waited_for(host, app)):
            from substitute.core.state.drain_now import draining_now  # noqa: PLC0415  # seldom needed

            until_free.enter_context(draining_now(host.journal, app.name, host.one_offs.myself(), cuts=now))
        _carry_out(
            *(host, app, operation, choose),
            spared=spared,
            slot_is_free=until_free.close,
            hold_for=hold_for,
            aim=aim,
        )


def _is_waited_for(host: Host, app: App) -> bool:
    """Whether somebody may still wait until the version that stands by has finished what it had."""
    record = host.journal.app(app.name) if app.name in host.journal.names() else None
    slot = record.standby(host.clock.now()) if record else None
    return slot is not None and (bool(slot.others) or holder_of(host.lock_path(app.name)) is not None)


def _carry_out(
    host: Host,
    app: App,
    operation: str,
    choose: Choose,
    *,
    spared: bool,
    slot_is_free: Callable[[], None],
    hold_for: float | None,
    aim: Aim | None,
) -> None:
    """Do it; `slot_is_free` is called when the slot that is needed is free."""
    with working_on(host, app, operation) as (attempt, interrupts):
        _heed_lock(host, app, operation)
        with given_up_on_error(attempt):
            require_no_strangers(host, app, host.journal.app(app.name))
            host.journal.remember_environment(app.name, host.caller)
            before = host.journal.app(app.name)
            aimed_at = aim(host, app, before) if aim else None
            settled = settle(host, app, interrupts=interrupts)
            with interrupts.allowed():
                if aimed_at and _went_back_to(host, app, before, aimed_at):
                    return
                plan, took = _choose(attempt, choose)
                same = _already_live(host, app, plan, settled) if operation == "deploy" else None
                if same and spared and not same.changed:
                    host.emit(same.unchanged(app))
                    return
                require_led_here(host, host.journal.app(app.name))
                require_keeper(host, app, host.journal.app(app.name))
                _make_room(attempt, plan, interrupts)
                slot_is_free()
                attempt.begin(plan, chosen_in=took)
                if same:
                    attempt.emit(Notice(same.message))
                started = bring_up(attempt)
                if hold_for is not None:
                    from substitute.core.deploy.holding import hold  # noqa: PLC0415  # few need it

                    hold(attempt, hold_for)
                    return
                change_workers(attempt)
                admit(attempt, started)
            commit(attempt)
        finish(attempt)


def _went_back_to(host: Host, app: App, before: AppRecord, commit: str) -> bool:
    """Whether settling has made `commit` live, since what was did not answer: then a rollback to it is done."""
    live = host.journal.app(app.name).live_slot
    if live is None or live.name is before.live or live.commit != commit:
        return False
    host.emit(Unchanged(app.name, live.name, commit, went_back=True))
    return True


def _heed_lock(host: Host, app: App, operation: str) -> None:
    """Refuse what a person has locked. Whoever has to go back at night can do so all the same."""
    if operation != "rollback":
        require_unlocked(host.journal, app.name)
    elif locks := locks_on(host.journal, app.name):
        host.emit(Warned(f"Deployments of {app.name} are {locks[0]}\nA rollback goes all the same."))


@contextmanager
def working_on(host: Host, app: App, operation: str) -> Iterator[tuple[Attempt, Interrupts]]:
    """Hold the app's lock, its guardian awake and Ctrl-C held back, for one attempt."""
    with (
        working(host, app, operation) as lock,
        Interrupts(ends_soon(host.emit)) as interrupts,
    ):
        host.journal.register(app)
        with host.guardian(app.name) as hand_over:
            attempt = Attempt(host, app, operation, lock, interrupts=interrupts, hand_over=hand_over)
            try:
                yield attempt, interrupts
            finally:
                if host.journal.app(app.name).unserved_until is not None:
                    hand_over()  # whoever looked after it was ended with the start of this one


@contextmanager
def given_up_on_error(attempt: Attempt) -> Iterator[None]:
    """Whatever fails in here leaves no candidate behind; the error raised says which version serves."""
    try:
        yield
    except SubstituteError as error:
        raise give_up(attempt, attempt.mask.error(error)) from error
    except Exception as error:  # a full disk, or a bug: it leaves no candidate behind either
        raise give_up(attempt, attempt.mask.error(expected(error))) from error


def begin(attempt: Attempt, choose: Choose) -> None:
    """Choose slot and commit, and write the attempt into the journal."""
    plan, took = _choose(attempt, choose)
    _make_room(attempt, plan)
    attempt.begin(plan, chosen_in=took)


def _make_room(attempt: Attempt, plan: Plan, interrupts: Interrupts | None = None) -> None:
    """End what waits in the slot that is needed."""
    host, app = attempt.host, attempt.app
    record = host.journal.app(app.name)
    is_held = record.hold is not None and record.hold.slot is plan.slot
    if plan.warm or not (is_held or record.slots[plan.slot].standby_until is not None):
        return
    if is_held and attempt.is_check:
        raise UsageError(
            f"Slot {plan.slot} of {app.name} is held, and a check needs it.",
            cure="Type `substitute promote` or `substitute abort` first.",
        )
    waits = "is held" if is_held else "stands by"
    left = migration_left(host.journal.deployment(record.hold.deployment)) if is_held and record.hold else ""
    host.emit(Notice(f"Slot {plan.slot} {waits}, and is needed now: it is stopped. {left}".rstrip()))
    host.journal.end_standby(app.name)
    host.journal.end_hold(app.name, reason=f"`{attempt.operation}` needed its slot.")
    settle(host, app, interrupts=interrupts)


def _already_live(host: Host, app: App, plan: Plan, settled: Settled) -> AlreadyLive | None:
    from substitute.core.deploy.unchanged import already_live  # noqa: PLC0415  # of a deployment alone

    return already_live(host, app, plan, settled)


def _choose(attempt: Attempt, choose: Choose) -> tuple[Plan, float]:
    """The plan, and how long it took to make."""
    host, app = attempt.host, attempt.app
    began = host.clock.monotonic()
    plan = choose(host, app, host.journal.app(app.name))
    return plan, host.clock.monotonic() - began
