"""``substitute promote``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import (
    Call,
    app_option,
    batch_option,
    host_options,
    json_option,
    now_option,
    root_option,
    wait_option,
)
from substitute.core.model.app_settings import Canary
from substitute.values import replace


@command
@option(
    "--all-at-once",
    is_flag=True,
    help="Run no canary ([app.NAME.canary]): the version is needed now.",
)
@now_option
@wait_option
@app_option
@json_option
@root_option
@host_options
@batch_option
def promote(call: Call, app: str | None, *, all_at_once: bool, now: bool) -> None:
    """Make the version live that `deploy --hold` has brought up.

    It runs already: it is asked once more, the workers change over, the traffic moves, and the old version finishes its
    requests and stops. If it does not answer any more, or fails while it is verified, it is stopped, and the old
    version serves on.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    site = call.site()
    found = site.known(app)
    found = replace(found, canary=Canary()) if all_at_once else found
    deployment.promote(site.host, found, now=now)
