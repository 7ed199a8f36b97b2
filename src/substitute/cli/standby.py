"""``substitute standby``."""

from __future__ import annotations

from substitute.cli.command import argument, command
from substitute.cli.options import (
    Call,
    app_option,
    host_options,
    json_option,
    one_of,
    root_option,
    wait_option,
)

_ACTIONS = ("end",)


@command
@argument("action", metavar="end", click_type=one_of(_ACTIONS), plain=_ACTIONS.__contains__)
@wait_option
@app_option
@json_option
@root_option
@host_options
def standby(call: Call, action: str, app: str | None) -> None:
    """End the version before, which runs on without requests ([app.NAME.standby] keep).

    It is stopped as ever, and its slot keeps its files: a rollback starts it again.
    """
    from substitute.core.operate import standbys  # noqa: PLC0415

    del action  # there is one
    site = call.site()
    for one in site.chosen(app):
        standbys.end(site.host, one)
