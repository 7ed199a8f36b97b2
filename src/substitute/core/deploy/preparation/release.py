"""The phase `release`: once a deployment, with the new code, before anything of it starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.commands import run_commands
from substitute.core.deploy.versions.release_guard import CONTRACT, ELSEWHERE, across
from substitute.core.deploy.working import tell_edges
from substitute.core.model.errors import InterruptedByUserError, ReleaseError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.records import SlotRecord


def run_release(attempt: Attempt) -> None:
    """Run the app's `release` where this is a deployment of a commit that is not live. Raises ReleaseError."""
    host, app, commit = attempt.host, attempt.app, attempt.plan.revision.commit
    if attempt.operation != "deploy" or not app.release.commands:
        return
    live = host.journal.app(app.name).live_slot
    if live and live.commit == commit:
        attempt.emit(Notice(f"{commit[:10]} is live already: its release is not run again."))
        return
    if why := across(host, app, commit):
        attempt.emit(Warned(f"{commit[:10]} is deployed, which was live before. {why}"))
    if attempt.plan.released:
        host.journal.release_began(attempt.id or 0, guard=_guard(attempt, live))
        host.journal.release_ended(attempt.id or 0, ELSEWHERE, seconds=0.0)
        attempt.emit(Notice("Its release is left out: it has run on another host."))
        return
    with attempt.phase(Phase.RELEASE):
        number, began = attempt.id or 0, host.clock.monotonic()
        host.journal.release_began(number, guard=_guard(attempt, live))
        tell_edges(attempt.host, attempt.app)
        try:
            run_commands(
                attempt,
                Phase.RELEASE,
                app.release.commands,
                timeout=app.release.timeout,
                failure=ReleaseError,
            )
        except Exception as error:
            outcome = "interrupted" if isinstance(error, InterruptedByUserError) else "failed"
            with suppress(Exception):  # what failed is the error to tell
                host.journal.release_ended(number, outcome, seconds=host.clock.monotonic() - began)
            raise
        host.journal.release_ended(number, "succeeded", seconds=host.clock.monotonic() - began)


def _guard(attempt: Attempt, live: SlotRecord | None) -> str:
    """The mark that one of the commits which this deployment brings asks for."""
    source, commit = attempt.host.source(attempt.app), attempt.plan.revision.commit
    found = source.contract(attempt.slot.directory, commit, since=live.commit if live else None)
    if found:
        attempt.emit(
            Notice(f"{found[:10]} says that its migration is a contract: no rollback goes across it.")
        )
    return CONTRACT if found else ""
