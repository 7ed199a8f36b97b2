"""``substitute down``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@app_option
@click.option("--of-supervisord", is_flag=True, hidden=True, help="Where systemd keeps it, leave it to that.")
@json_option
@root_option
@click.pass_obj
def down(call: Call, app: str | None, *, of_supervisord: bool) -> None:
    """Let running requests finish, then stop every instance, the balancer and the runtime.

    "up" starts again what was live. With -a only that app's instances stop.
    """
    from substitute.core.operate import root  # noqa: PLC0415

    site = call.site()
    if of_supervisord and site.runtime.kind != "supervisord":
        return
    if app is None:
        site.rest()
    root.down(site.host, site.chosen(app), everything=app is None)
