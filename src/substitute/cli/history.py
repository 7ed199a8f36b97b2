"""``substitute history``."""

from __future__ import annotations

from substitute.cli.command import argument, command, option
from substitute.cli.options import (
    Call,
    app_option,
    deployment_of,
    host_options,
    json_option,
    number,
    root_option,
)


@command
@argument("deployment", required=False, metavar="[ID]", click_type=number(1))
@option("-n", "--lines", metavar="N", default=20, show_default=True, click_type=number(1), help="How many.")
@option("--runs", is_flag=True, help="List what was run by `substitute run` instead.")
@option(
    "--cron", is_flag=True, help="List the runs of crons instead, also those that were skipped or missed."
)
@app_option
@json_option
@root_option
@host_options
def history(
    call: Call, deployment: int | None, lines: int, app: str | None, *, runs: bool, cron: bool
) -> None:
    """List the deployments, the latest first: when, what, which commit, how it ended, how long it took, who typed it.

    With ID: all that is known of that deployment, with the whole reason and the seconds of each phase.

    Below them the drills: how many requests, how many failed, and the 99th percentile of the latency before,
    during and after the operation.
    """
    if (runs or cron) and deployment is not None:
        from substitute.core.model.errors import UsageError  # noqa: PLC0415

        raise UsageError(f"--{'cron' if cron else 'runs'} lists no deployments: leave out ID.")
    site = call.site_to_read()
    apps = site.chosen(app)
    if runs or cron:
        ran = [run for one in apps for run in site.host.journal.past_runs(one.name, cron=cron, limit=lines)]
        ran.sort(key=lambda run: run.id, reverse=True)
        show = call.console.runs_of_crons if cron else call.console.runs
        show(ran[:lines], with_app=len(apps) > 1)
        return
    if deployment is not None:
        record = deployment_of(site, app, deployment)
        of_it = [one for one in site.host.journal.drills(record.app) if one.deployment == record.id]
        call.console.deployment(record, of_it)
        return
    found = [record for one in apps for record in site.host.journal.history(one.name, lines)]
    found.sort(key=lambda record: record.id, reverse=True)
    drills = [record for one in apps for record in site.host.journal.drills(one.name, lines)]
    drills.sort(key=lambda record: record.id, reverse=True)
    call.console.history(found[:lines], drills[:lines], with_app=len(apps) > 1)
