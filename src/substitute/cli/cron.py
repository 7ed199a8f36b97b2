"""``substitute cron``."""

from __future__ import annotations

from substitute.cli.command import argument, command
from substitute.cli.options import Call, app_option, host_options, json_option, one_of, root_option

_ACTIONS = ("run", "pause", "resume")


@command
@argument(
    "action",
    required=False,
    metavar="[run|pause|resume]",
    click_type=one_of(_ACTIONS),
    plain=_ACTIONS.__contains__,
)
@argument("name", required=False, metavar="[NAME]")
@app_option
@json_option
@root_option
@host_options
def cron(call: Call, action: str | None, name: str | None, app: str | None) -> int:
    """List the crons of the live version: when each is due next, and what became of its last run.

    "cron run NAME" runs one at once, also while it is paused. What it writes is shown, and the exit status is its own.

    "cron pause" starts none of them any more until "cron resume", with NAME that one alone. What runs goes on, and what
    is due meanwhile is not made up for.

    Each host of --hosts has its own: a cron is due on every host where its app is live. "cron pause" with --hosts and
    --without has it run on one host alone.

    "logs cron-NAME" shows what a cron has written, "history --cron" its runs: also those that were skipped, since an
    earlier one was still running, and those that were missed, since nobody was there to start them.
    """
    from substitute.core.model.errors import UsageError  # noqa: PLC0415
    from substitute.core.operate import crons  # noqa: PLC0415

    if action is None:
        site = call.site_to_read()
        call.console.crons(crons.listed(site.host, site.chosen(app)), with_app=len(site.all_known()) > 1)
        return 0
    site = call.site()
    if action == "run":
        if name is None:
            raise UsageError("Which cron is to be run?", cure="`substitute cron` lists them.")
        return crons.run_now(site.host, site.known(app), name)
    chosen = [site.known(app)] if name else site.chosen(app)
    (crons.pause if action == "pause" else crons.resume)(site.host, chosen, name)
    return 0
