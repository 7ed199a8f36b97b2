"""``substitute history``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, deployment_of, json_option, root_option


@click.command()
@click.argument("deployment", required=False, metavar="[ID]", type=click.IntRange(min=1))
@click.option(
    "-n", "--lines", metavar="N", default=20, show_default=True, type=click.IntRange(min=1), help="How many."
)
@app_option
@json_option
@root_option
@click.pass_obj
def history(call: Call, deployment: int | None, lines: int, app: str | None) -> None:
    """List the deployments, the latest first: when, what, which commit, how it ended, how long it took, who typed it.

    With ID: all that is known of that deployment, with the whole reason and the seconds of each phase.

    Below them the drills: how many requests, how many failed, and the 99th percentile of the latency before,
    during and after the operation.
    """
    site = call.site_to_read()
    apps = site.chosen(app)
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
