"""``substitute uninstall``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, json_option, root_option


@click.command()
@json_option
@root_option
@click.pass_obj
def uninstall(call: Call) -> None:
    """Undo "install". What runs goes on running; after a reboot it does not come back by itself."""
    site = call.boot_site()
    where = site.starter().uninstall()
    if call.console.json:
        call.console.document({"boot": None})
    else:
        done = f"Taken out of {where}." if where else "Nothing was installed."
        call.console.lines([f"{done} After a reboot, type `substitute up`."])
