"""``substitute unlock``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import Call, app_option, host_options, json_option, root_option


@command
@app_option
@json_option
@root_option
@host_options
def unlock(call: Call, app: str | None) -> None:
    """Allow deployments again: of all apps, or with -a of one.

    It tells who had locked them, and why. Without -a also what was locked with -a is unlocked.
    """
    from substitute.core.operate import locking  # noqa: PLC0415

    site = call.site()
    every = sorted({*site.apps, *site.host.journal.names()})
    locking.unlock(site.host, every, site.known(app).name if app else None)
