"""``substitute status``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@app_option
@json_option
@root_option
@click.pass_obj
def status(call: Call, app: str | None) -> None:
    """Show each slot's state, commit, port, process, share of the traffic, and requests in flight.

    All of it is observed now: processes, sockets and the balancer's own answer. The states are live,
    candidate (of a deployment that is under way), draining, standby (started by hand), idle, and failed
    (should be live, and does not run or does not listen on its port).
    """
    call.console.status(call.site_to_read().status(app))
