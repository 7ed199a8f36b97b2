"""``substitute check``."""

from __future__ import annotations

import click

from substitute.cli.deploy import commit_argument
from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@commit_argument
@app_option
@json_option
@root_option
@click.pass_obj
def check(call: Call, commit: str | None, app: str | None) -> int:
    """Try how COMMIT takes SIGTERM, beside the live version, and say what to mend.

    COMMIT is a branch of origin, a tag or any commit; the default is the newest commit of the app's branch.

    It is updated, built and started in the slot that is not live, as a deployment does it, but gets no traffic.
    Requests of its own are sent to the path of the health check: a GET, and one (a GET, or a POST where that is
    answered at once) whose body is held back. Then it gets SIGTERM. New connections must be refused within 1 s,
    the request half sent must be answered in full, idle connections closed; it must exit within stop.timeout and
    leave no child behind; and the signal must reach it through npm, shells and other wrappers.

    Hooks run as in a deployment, up to post_start, and see SUBSTITUTE_OPERATION=check. The live version goes on
    serving. A rollback to what the slot held before updates and builds it again. Exit status 1: something is wrong
    with the app.
    """
    from substitute.core import manners  # noqa: PLC0415

    site = call.site(call.console.aside if call.json else None)
    seen = manners.check(site.host, site.app(app), commit)
    call.console.checked(seen)
    return 0 if seen.manners.passed else 1
