"""``substitute up``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import Call, app_option, host_options, json_option, root_option, wait_option


@command
@wait_option
@app_option
@json_option
@root_option
@host_options
def up(call: Call, app: str | None) -> None:
    """Start everything that should run: after a reboot, after a crash, or after "down".

    What is in order is left alone, so you may type it at any time. With -a it starts that app only.
    """
    from substitute.core.operate import root  # noqa: PLC0415

    site = call.site()
    root.up(site.host, site.chosen(app), guests=app is None)
