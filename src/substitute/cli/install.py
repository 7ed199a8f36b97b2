"""``substitute install``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, json_option, root_option


@click.command()
@json_option
@root_option
@click.pass_obj
def install(call: Call) -> None:
    """Have everything come back after a reboot, with nobody typing.

    As root, or with a systemd of your own that lingers, that is a unit; where there is no systemd, a line of
    cron's. It runs "up" at boot: what was live is started and gets its traffic, and a deployment that was under
    way is settled. Typed again, it is written anew. "uninstall" takes it away.
    """
    site = call.boot_site()
    starter = site.starter(installing=True)
    where = starter.install(site.command())
    if call.console.json:
        call.console.document({"boot": {"kind": starter.kind, "where": where}})
    else:
        call.console.lines([f"{site.root} comes back after a reboot, by {where}."])
