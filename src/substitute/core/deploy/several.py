"""Several apps of a root deployed with one command: those that changed, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.choosing import into_next_slot
from substitute.core.deploy.deployment import deploy, given_up_on_error, working_on
from substitute.core.deploy.settle import settle
from substitute.core.deploy.unchanged import already_live
from substitute.core.model.errors import SubstituteError, UsageError
from substitute.core.model.events import Announced, Halted, Notice
from substitute.core.state.hand_lock import require_unlocked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.deploy.choosing import Choose
    from substitute.core.deploy.plan import Plan
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord


def deploy_several(
    host: Host, apps: Sequence[App], commit: str | None = None, *, force: bool = False
) -> None:
    """Deploy those of `apps` that changed, and say first which these are; with `force` all of them.

    One that was stopped by hand is left out. When one fails, those before it stay live, and those after it are not
    begun: its error is raised. `commit` is for apps of one repository.
    """
    if commit and len({app.repo for app in apps}) > 1:
        named = " or ".join(f"`-a {app.name}`" for app in apps)
        raise UsageError(
            f"The apps here have several repositories, and {commit} is of one.", cure=f"Add {named}."
        )
    surveyed = [(app, _survey(host, app, commit, force=force)) for app in apps]
    chosen = [(app, plan) for app, plan in surveyed if plan]
    for app, _ in chosen:
        require_unlocked(host.journal, app.name)
    names = [app.name for app, _ in chosen]
    host.emit(Announced(tuple(names), tuple(app.name for app in apps if app.name not in names)))
    for number, (app, plan) in enumerate(chosen):
        try:
            deploy(host, app, if_changed=True, force=force, chosen=_as_planned(plan))
        except SubstituteError:
            host.emit(Halted(app.name, tuple(names[:number]), tuple(names[number + 1 :])))
            raise


def choose(host: Host, app: App, commit: str | None, *, sha256: str | None = None) -> Plan:
    """What a deployment would bring now. Nothing is begun."""
    with working_on(host, app, "deploy") as (attempt, interrupts), given_up_on_error(attempt):
        settle(host, app, interrupts=interrupts)
        with interrupts.allowed():
            return into_next_slot("deploy", commit, sha256=sha256)(host, app, host.journal.app(app.name))


def _survey(host: Host, app: App, commit: str | None, *, force: bool) -> Plan | None:
    """What is to be deployed of `app`; None where it is left alone, which is told. Nothing is begun."""
    with working_on(host, app, "deploy") as (attempt, interrupts), given_up_on_error(attempt):
        settled = settle(host, app, interrupts=interrupts)
        record = host.journal.app(app.name)
        if record.stopped:
            host.emit(
                Notice(f"{app.name} was stopped by hand. `substitute deploy -a {app.name}` deploys it.")
            )
            return None
        with interrupts.allowed():
            plan = into_next_slot("deploy", commit)(host, app, record)
            same = None if force else already_live(host, app, plan, settled)
        if same and not same.changed:
            host.emit(same.unchanged(app))
            return None
        return plan


def _as_planned(plan: Plan) -> Choose:
    """What was told, and not what is newer since; in another slot, where somebody has deployed meanwhile."""

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        if record.next_slot is plan.slot:
            return plan
        return into_next_slot("deploy", plan.revision.commit)(host, app, record)

    return choose
