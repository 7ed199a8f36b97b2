"""``substitute status``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import Call, app_option, host_options, json_option, root_option
from substitute.core.model.errors import NothingServesError


@command
@option("--check", is_flag=True, help="Exit with 4 where an app that should serve does not.")
@app_option
@json_option
@root_option
@host_options
def status(call: Call, app: str | None, *, check: bool) -> int:
    """Show each slot's state, commit, port, process, share of the traffic, and requests in flight.

    All of it is observed now: processes, sockets and the balancer's own answer. The states are live,
    candidate (of a deployment that is under way), draining, standby (runs without requests, for a rollback
    or by hand), idle, and failed (should be live, and does not run, does not listen on its port, or crashes
    again and again).
    Of a failed one the last lines of its log are shown.

    With --check each app that should serve is asked as a health check asks it, too. One that was stopped by hand
    should not.
    """
    document = call.site_to_read().status(app, check=check)
    call.console.status(document)
    return NothingServesError.exit_status if document.get("out_of_service") else 0
