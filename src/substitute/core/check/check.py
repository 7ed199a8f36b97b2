"""A check of how an app stops, told as a story.

    lock; settle; begin; update; build; start; wait until ready; SIGTERM, and watch; stop

It is a deployment up to the moment before the traffic: the candidate gets none, and is gone at the end. The
live version does not notice, and stays live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.check.observation import watch_sigterm
from substitute.core.check.verdict import judge
from substitute.core.deploy.deployment import begin, bring_up, given_up_on_error, into_next_slot, working_on
from substitute.core.deploy.instances import end_left_behind
from substitute.core.deploy.plan import CHECK
from substitute.core.deploy.settle import settle
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App, Trials
    from substitute.core.model.events import Checked


def check(host: Host, app: App, commit: str | None = None, trials: Trials | None = None) -> Checked:
    """Start `commit` (default: the newest of the branch) in the idle slot, send it SIGTERM, and say what it did.

    The requests that are under way then are those of `trials`; by default what the app's configuration names.

    The slot then holds `commit`: a rollback to what it held before updates and builds it again. The attempt
    stands in the history as a check. Raises as `deploy` does where the candidate does not become ready.
    """
    with working_on(host, app, CHECK) as (attempt, interrupts), given_up_on_error(attempt):
        settle(host, app, interrupts=interrupts)
        with interrupts.allowed():
            begin(attempt, into_next_slot(CHECK, commit))
            process, _ = bring_up(attempt)
            with attempt.phase(Phase.CHECK):
                seen = watch_sigterm(host, attempt.slot, process, app.health, trials or app.trials)
        # All is seen: nothing that is left need be waited for.
        host.runtime.stop(attempt.slot.instance, process, timeout=0.0)
        end_left_behind(host, app, attempt.slot, timeout=0.0)
        host.journal.gone(app.name, attempt.slot.name)
        return attempt.checked(judge(seen))
