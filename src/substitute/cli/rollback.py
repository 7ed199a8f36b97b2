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

    It starts from its slot without a build. If a later deployment has overwritten the slot, that version is fetched
    and built again. A second rollback goes forward again.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    site = call.site()
    deployment.rollback(site.host, site.known(app))
