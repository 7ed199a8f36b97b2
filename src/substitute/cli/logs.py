"""``substitute logs``."""

from __future__ import annotations

import click

from substitute.cli.options import SLOTS, Call, app_option, json_option, root_option


@click.command()
@click.argument("slot", required=False, metavar="[SLOT]", type=click.Choice(SLOTS))
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", metavar="N", default=20, show_default=True, type=click.IntRange(min=0), help="How many."
)
@app_option
@json_option
@root_option
@click.pass_obj
def logs(call: Call, slot: str | None, lines: int, app: str | None, *, follow: bool) -> None:
    """Show the last lines that the instance in SLOT wrote.

    Without SLOT it is the live one's, each line marked with its slot; with -f, what the other slot writes
    follows too, so that a switch loses nothing.
    """
    from substitute import following  # noqa: PLC0415
    from substitute.logs import read_tail  # noqa: PLC0415

    site = call.site_to_read()
    chosen = site.app(app)
    live = site.host.journal.app(chosen.name).live if chosen.name in site.host.journal.names() else None
    shown = [slot or live] if slot or live else list(SLOTS)
    for name in () if follow else shown:
        for line in read_tail(chosen.log_directory / f"{name}.log", lines):
            call.console.log_line(str(name), line, marked=slot is None)
    if follow:
        tails = {name: lines if name in shown else 0 for name in ([slot] if slot else SLOTS)}
        following.follow(
            {chosen.log_directory / f"{name}.log": wanted for name, wanted in tails.items()},
            lambda path, line: call.console.log_line(path.stem, line, marked=slot is None),
        )
