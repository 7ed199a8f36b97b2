"""``substitute history``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@click.option(
    "-n", "--lines", metavar="N", default=20, show_default=True, type=click.IntRange(min=1), help="How many."
)
@app_option
@json_option
@root_option
@click.pass_obj
def history(call: Call, lines: int, app: str | None) -> None:
    """List the deployments, the latest first: when, what, which commit, how it ended and how long it took.

    Below them the drills: how many requests, how many failed, and the 99th percentile of the latency before,
    during and after the operation.
    """
    site = call.site_to_read()
    apps = site.chosen(app)
    found = [record for one in apps for record in site.host.journal.history(one.name, lines)]
    found.sort(key=lambda record: record.id, reverse=True)
    drills = [record for one in apps for record in site.host.journal.drills(one.name, lines)]
    drills.sort(key=lambda record: record.id, reverse=True)
    call.console.history(found[:lines], drills[:lines], with_app=len(apps) > 1)
