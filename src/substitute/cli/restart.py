"""``substitute restart``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import (
    Call,
    app_option,
    batch_option,
    host_options,
    json_option,
    root_option,
    wait_option,
)


@command
@wait_option
@app_option
@json_option
@root_option
@host_options
@batch_option
def restart(call: Call, app: str | None) -> None:
    """Build and start the live commit in the other slot, and make that live: a restart without downtime.

    Changes in substitute.toml, in the env_file and in your environment (PATH) take effect.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    site = call.site()
    deployment.restart(site.host, site.app(app))
