"""``substitute history``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@click.option("-n", "limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many.")
@app_option
@json_option
@root_option
@click.pass_obj
def history(call: Call, limit: int, app: str | None) -> None:
    """List the deployments, the latest first, with their times and how they ended."""
    from substitute.console.stream import paint_for  # noqa: PLC0415
    from substitute.console.tables import history_document, history_lines  # noqa: PLC0415

    site = call.site_to_read()
    records = site.host.journal.history(site.app(app).name, limit)
    if call.json:
        call.console.document(history_document(records))
    else:
        call.console.lines(history_lines(records, paint_for(call.console.out), with_app=False))
