"""``substitute logs``."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from substitute.cli.command import argument, command, option
from substitute.cli.options import (
    SLOTS,
    Call,
    app_option,
    deployment_of,
    host_options,
    json_option,
    number,
    root_option,
)
from substitute.core.deploy.running.workers import processes_of, workers_of
from substitute.core.host import log_of
from substitute.core.model.errors import UsageError
from substitute.core.model.records import unregistered

if TYPE_CHECKING:
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import DeploymentRecord
    from substitute.wiring.site import Site


@command
@argument(
    "slot",
    required=False,
    metavar="[SLOT]",
    shell_complete=lambda _ctx, _parameter, incomplete: [
        name for name in SLOTS if name.startswith(incomplete)
    ],
)
@option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@option(
    "-n",
    "--lines",
    metavar="N",
    click_type=number(0),
    help="How many.  [default: 20; all of a deployment]",
)
@option(
    "--deployment",
    metavar="ID",
    click_type=number(1),
    help="Show the log of that deployment instead: what its build, its hooks and the starting instance wrote.",
)
@app_option
@json_option
@root_option
@host_options
def logs(
    call: Call, slot: str | None, lines: int | None, app: str | None, *, deployment: int | None, follow: bool
) -> None:
    """Show the last lines that SLOT wrote: a, b, one instance (as a_worker_1), or the name of a guest.

    Of a detached command, as run-7, too: with -f until it ends. Of a cron, as cron-digest: all its runs.

    Without SLOT it is the live one's, each line marked with its slot; with -f, what the other slot writes
    follows too, so that a switch loses nothing.
    """
    if deployment is not None and (slot or follow):
        raise UsageError(
            "--deployment shows a log of its own: leave out SLOT and -f.",
            cure="`substitute logs --help` tells how it is used.",
        )
    site = call.site_to_read()
    if deployment is not None:
        _show_deployment(call, site, deployment_of(site, app, deployment), lines)
        return
    lines = 20 if lines is None else lines
    if slot and _show_other(call, site, app, slot, lines, follow=follow):
        return
    chosen = site.known(app)
    instances = _instances(site, chosen)
    live = site.host.journal.app(chosen.name).live if chosen.name in site.host.journal.names() else None
    shown = [one for one in instances if not (slot or live) or (slot or live) in {one.slot, one.short_name}]
    if not shown:
        known = dict.fromkeys([*SLOTS, *(one.short_name for one in instances), *site.host.journal.guests()])
        raise UsageError(f"There is no slot and no instance {slot!r}.", cure=f"There is {', '.join(known)}.")
    names = {one.name: one.short_name for one in instances}
    marked = len(shown) > 1 or slot is None

    def show(instance: str, line: str) -> None:
        call.console.log_line(names[instance], line, marked=marked)

    for one in () if follow else shown:
        for line in site.host.runtime.last_lines(one.name, log_of(chosen, one), lines):
            show(one.name, line)
    if follow:
        followed = shown if slot else instances
        site.follow({one.name: (log_of(chosen, one), lines if one in shown else 0) for one in followed}, show)


def _instances(site: Site, app: App) -> list[InstanceRecord]:
    """All that may have written something, by what runs and by what substitute.toml says."""
    journal = site.host.journal
    record = journal.app(app.name) if app.name in journal.names() else unregistered(app)
    found = dict[str, "InstanceRecord"]()
    for slot in record.slots.values():
        found |= {one.name: one for one in (*slot.instances, *workers_of(slot, processes_of(app, slot)))}
    return [found[name] for name in sorted(found)]


def _show_other(call: Call, site: Site, app: str | None, name: str, lines: int, *, follow: bool) -> bool:
    """Show what a guest, a detached command or a cron wrote; False where `name` is of none of them."""
    if name in site.host.journal.guests():
        _show_guest(call, site, name, lines, follow=follow)
        return True
    if not name.startswith(("run-", "cron-")):
        return False
    from substitute.cli.logs_of_runs import show_cron, show_run  # noqa: PLC0415

    if name.startswith("run-"):
        show_run(call, site, name, lines, follow=follow)
    else:
        show_cron(call, site, site.known(app), name, lines, follow=follow)
    return True


def _show_guest(call: Call, site: Site, name: str, lines: int, *, follow: bool) -> None:
    """Show the log of a guest."""
    from substitute.core.operate.guests import log_of as guest_log  # noqa: PLC0415

    def show(_instance: str, line: str) -> None:
        call.console.log_line(name, line, marked=False)

    if follow:
        site.follow({name: (guest_log(site.host, name), lines)}, show)
        return
    for line in site.host.runtime.last_lines(name, guest_log(site.host, name), lines):
        show(name, line)


def _show_deployment(call: Call, site: Site, record: DeploymentRecord, lines: int | None) -> None:
    from substitute.core.state.deployment_log import path_of  # noqa: PLC0415

    path = path_of(site.known(record.app), record.id)
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            for line in log if lines is None else deque(log, maxlen=lines):
                call.console.deployment_log_line(record.id, line.rstrip("\n"))
    except FileNotFoundError:
        raise UsageError(
            f"The log of deployment {record.id} is no longer there.",
            fact="The logs of the latest fifty deployments are kept.",
            cure=f"`substitute history {record.id}` says what is known of it.",
        ) from None
