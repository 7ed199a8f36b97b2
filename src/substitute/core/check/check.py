"""A check of how an app stops, told as a story.

    lock; settle; begin; update; build; start; wait until ready; stop signal, and watch; stop

It is a deployment up to the moment before the traffic: the candidate gets none, and is gone at the end. The
live version does not notice, and stays live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.check.late_answers import warn_of_late_answers
from substitute.core.check.observation import watch_stop
from substitute.core.check.verdict import judge
from substitute.core.deploy.candidate import bring_up
from substitute.core.deploy.choosing import into_next_slot
from substitute.core.deploy.deployment import begin, given_up_on_error, working_on
from substitute.core.deploy.plan import CHECK
from substitute.core.deploy.running.instances import end_left_behind
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import UsageError
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.app_settings import Trials
    from substitute.core.model.apps import App
    from substitute.core.model.events import Checked
    from substitute.core.model.records import AppRecord


def check(
    host: Host, app: App, commit: str | None = None, trials: Trials | None = None, *, kept: bool = False
) -> Checked:
    """Start `commit` (default: the newest of the branch) in the idle slot, tell it to stop, and say what it did.

    The requests that are under way then are those of `trials`; by default what the app's configuration names.

    `kept`: the balancer keeps connections to the app, so it is told whether the app is slow on them.

    The slot then holds `commit`: a rollback to what it held before updates and builds it again. The attempt
    stands in the history as a check. Raises as `deploy` does where the candidate does not become ready, and UsageError
    where a version is live that nothing may run beside.
    """
    _require_sight(app)
    with working_on(host, app, CHECK) as (attempt, interrupts), given_up_on_error(attempt):
        settle(host, app, interrupts=interrupts)
        _require_room(app, host.journal.app(app.name))
        with interrupts.allowed():
            begin(attempt, into_next_slot(CHECK, commit))
            (started,) = bring_up(attempt)
            with attempt.phase(Phase.CHECK):
                if kept:
                    warn_of_late_answers(attempt, app.health)
                seen = watch_stop(host, attempt.slot, started, trials or app.trials)
        # All is seen: nothing that is left need be waited for.
        signal = attempt.slot.stop_signal
        host.runtime.stop(started.instance.name, started.process, timeout=0.0, signal=signal)
        end_left_behind(host, app, attempt.slot, timeout=0.0)
        host.journal.gone(app.name, attempt.slot.name)
        return attempt.checked(judge(seen))


def _require_sight(app: App) -> None:
    if any(slot.clustered for slot in app.slots.values()):
        raise UsageError(
            f"How {app.name} stops cannot be watched from here: its pods run on other machines.",
            cure="Check its image on this machine first, in a root whose runtime.kind is podman or docker. "
            "`substitute drill` tells whether a deployment into the cluster fails a request.",
        )


def _require_room(app: App, record: AppRecord) -> None:
    if app.runs_once and record.live and not record.stopped:
        raise UsageError(
            f"A check would run a second version of {app.name} beside the live one.",
            fact=f'app.{app.name}.order = "stop-first" says that no two may run at once. Nothing was changed.',
            cure=f"Check it in a root of its own, with data of its own. Or type `substitute down -a {app.name}` first: "
            "nothing serves then, until `substitute up`.",
        )
