"""``substitute uninstall``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import Call, json_option, root_option


@command
@json_option
@root_option
def uninstall(call: Call) -> None:
    """Undo "install". What runs goes on running, but does not start by itself after a reboot."""
    site = call.boot_site()
    where = site.starter().uninstall()
    if call.console.json:
        call.console.document({"boot": None})
    else:
        done = f"Taken out of {where}." if where else "Nothing was installed."
        call.console.lines([f"{done} After a reboot, type `substitute up`."])
