"""``substitute rollback``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@app_option
@json_option
@root_option
@click.pass_obj
def rollback(call: Call, app: str | None) -> None:
    """Go back to the version that was live before the present one.

    It is started from its slot as it stands, with neither update nor build; where a later deployment has
    overwritten the slot, it is updated and built again. Typed twice, it ends where it began.
    """
    from substitute.core import deployment  # noqa: PLC0415

    site = call.site()
    deployment.rollback(site.host, site.app(app))
