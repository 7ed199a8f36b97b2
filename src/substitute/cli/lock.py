"""``substitute lock``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.cli.command import argument, command
from substitute.cli.options import Call, app_option, host_options, json_option, root_option

if TYPE_CHECKING:
    import click


def _reason(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    import click  # noqa: PLC0415

    if not value.strip():
        raise click.BadParameter("Write why, for those who want to deploy.", ctx, parameter)
    return value.strip()


@command
@argument("text", callback=_reason, plain=str.strip)
@app_option
@json_option
@root_option
@host_options
def lock(call: Call, text: str, app: str | None) -> None:
    """Refuse deployments of all apps, or with -a of one, until "unlock". TEXT is the reason: "no deploys on Friday".

    "deploy" and "restart" end with status 3 and show who locked them, since when, and TEXT. So does "status". A
    deployment that is under way goes on. A "rollback" goes all the same, with a warning: whoever has to go back at
    night can do so. What runs is looked after as ever.
    """
    from substitute.core.operate import locking  # noqa: PLC0415

    site = call.site()
    locking.lock(site.host, site.apps, site.known(app).name if app else None, text)
