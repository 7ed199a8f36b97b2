"""``substitute logs``."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import click

from substitute.cli.options import SLOTS, Call, app_option, deployment_of, json_option, root_option

if TYPE_CHECKING:
    from substitute.core.model.records import DeploymentRecord
    from substitute.wiring.site import Site


@click.command()
@click.argument(
    "slot",
    required=False,
    metavar="[SLOT]",
    shell_complete=lambda _ctx, _parameter, incomplete: [
        name for name in SLOTS if name.startswith(incomplete)
    ],
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    help="How many.  [default: 20; all of a deployment]",
)
@click.option(
    "--deployment",
    metavar="ID",
    type=click.IntRange(min=1),
    help="Show the log of that deployment instead: what its build, its hooks and the starting instance wrote.",
)
@app_option
@json_option
@root_option
@click.pass_obj
def logs(
    call: Call, slot: str | None, lines: int | None, app: str | None, *, deployment: int | None, follow: bool
) -> None:
    """Show the last lines that the instance in SLOT wrote; SLOT is a, b, or the name of a guest.

    Without SLOT it is the live one's, each line marked with its slot; with -f, what the other slot writes
    follows too, so that a switch loses nothing.
    """
    if deployment is not None and (slot or follow):
        raise click.UsageError("--deployment shows a log of its own: leave out SLOT and -f.")
    site = call.site_to_read()
    if deployment is not None:
        _show_deployment(call, site, deployment_of(site, app, deployment), lines)
        return
    lines = 20 if lines is None else lines
    if slot and slot not in SLOTS:
        _show_guest(call, site, slot, lines, follow=follow)
        return
    chosen = site.known(app)
    live = site.host.journal.app(chosen.name).live if chosen.name in site.host.journal.names() else None
    shown = [slot or live] if slot or live else list(SLOTS)
    files = {f"{chosen.name}_{name}": chosen.log_directory / f"{name}.log" for name in SLOTS}

    def show(instance: str, line: str) -> None:
        call.console.log_line(instance[-1], line, marked=slot is None)

    for name in () if follow else shown:
        instance = f"{chosen.name}_{name}"
        for line in site.host.runtime.last_lines(instance, files[instance], lines):
            show(instance, line)
    if follow:
        tails = {name: lines if name in shown else 0 for name in ([slot] if slot else SLOTS)}
        site.follow(
            {
                f"{chosen.name}_{name}": (files[f"{chosen.name}_{name}"], wanted)
                for name, wanted in tails.items()
            },
            show,
        )


def _show_guest(call: Call, site: Site, name: str, lines: int, *, follow: bool) -> None:
    """The same of a guest."""
    from substitute.core.model.errors import UsageError  # noqa: PLC0415
    from substitute.core.operate.guests import log_of  # noqa: PLC0415

    if name not in site.host.journal.guests():
        known = ", ".join([*SLOTS, *site.host.journal.guests()])
        raise UsageError(f"There is no slot and no guest {name!r}.", cure=f"There is {known}.")

    def show(_instance: str, line: str) -> None:
        call.console.log_line(name, line, marked=False)

    if follow:
        site.follow({name: (log_of(site.host, name), lines)}, show)
        return
    for line in site.host.runtime.last_lines(name, log_of(site.host, name), lines):
        show(name, line)


def _show_deployment(call: Call, site: Site, record: DeploymentRecord, lines: int | None) -> None:
    from substitute.core.model.errors import UsageError  # noqa: PLC0415
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
