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
    """Show what runs, observed now: processes, sockets, the balancer's own answer."""
    from substitute.console.stream import paint_for  # noqa: PLC0415
    from substitute.console.tables import status_lines  # noqa: PLC0415

    document = call.site_to_read().status(app)
    if call.json:
        call.console.document(document)
    else:
        call.console.lines(status_lines(document, paint_for(call.console.out)))
