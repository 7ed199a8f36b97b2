"""``substitute down``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import Call, app_option, host_options, json_option, root_option, wait_option


@command
@wait_option
@app_option
@option("--of-supervisord", is_flag=True, hidden=True, help="Where systemd keeps it, leave it to that.")
@json_option
@root_option
@host_options
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
