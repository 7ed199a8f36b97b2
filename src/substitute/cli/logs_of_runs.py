"""``substitute logs run-7`` and ``substitute logs cron-digest``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.running.runs import under_way
from substitute.core.model.errors import UsageError
from substitute.core.operate import one_offs
from substitute.io import tail
from substitute.io.tail import Follower

if TYPE_CHECKING:
    from substitute.cli.options import Call
    from substitute.core.model.apps import App
    from substitute.wiring.site import Site

_PAUSE = 0.1
"""Seconds between two looks at the log."""


def show_run(call: Call, site: Site, name: str, lines: int, *, follow: bool) -> None:
    """Print what the command `name` wrote, if it was detached; following it ends with it."""
    run = one_offs.find(site.host, name)
    if run is None:
        raise UsageError(f"There is no {name}.", cure="`substitute history --runs` lists what was run.")
    if run.cron:
        show_cron(call, site, site.known(run.app), f"cron-{run.cron}", lines, follow=follow)
        return
    log = one_offs.log_of(site.known(run.app), run)
    if not run.detached:
        raise UsageError(f"{run.name} has no log: it wrote to the terminal of {run.user}.")
    if not log.exists():
        raise UsageError(f"The log of {run.name} is no longer there.", fact="The latest fifty are kept.")
    reader = Follower(log, lines, lambda _, line: call.console.log_line(run.name, line, marked=False))
    reader.read_what_is_there()
    while follow and run.id in {one.id for one in under_way(site.host, run.app)}:
        if not reader.read():
            site.host.clock.sleep(_PAUSE)
    reader.read_what_is_there()
    reader.close()


def show_cron(call: Call, site: Site, app: App, name: str, lines: int, *, follow: bool) -> None:
    """Print what the runs of a cron wrote, and what was told of them."""
    from substitute.core.operate import crons, scheduling  # noqa: PLC0415
    from substitute.io.rotation import read_tail  # noqa: PLC0415

    cron = name.removeprefix("cron-")
    log = scheduling.log_of(site.host, app.name, cron)
    if not log.exists():
        crons.find(site.host, app, cron)  # else it is an error
    if follow:
        tail.follow({log: lines}, lambda _, line: call.console.log_line(name, line, marked=False))
    for line in read_tail(log, lines):
        call.console.log_line(name, line, marked=False)
