"""``substitute abort``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import Call, app_option, host_options, json_option, root_option, wait_option


@command
@wait_option
@app_option
@json_option
@root_option
@host_options
def abort(call: Call, app: str | None) -> None:
    """Stop the version that `deploy --hold` has brought up. What is live serves on, untouched."""
    from substitute.core.deploy import holding  # noqa: PLC0415

    site = call.site()
    holding.abort(site.host, site.known(app))
