"""``substitute install``."""

from __future__ import annotations

from substitute.cli.command import command
from substitute.cli.options import Call, json_option, root_option


@command
@json_option
@root_option
def install(call: Call) -> None:
    """Start everything after a reboot, without anybody typing.

    This writes a systemd unit (as root, or for a user with "loginctl enable-linger"), or else a line of cron. It runs
    "up" at boot: the last live version starts and receives traffic. A deployment that was interrupted is finished or
    undone. If it is installed already, it is written again. "uninstall" removes it.
    """
    site = call.boot_site()
    starter = site.starter(installing=True)
    where = starter.install(site.command())
    if call.console.json:
        call.console.document({"boot": {"kind": starter.kind, "where": where}})
    else:
        call.console.lines([f"{site.root} starts again after a reboot, by {where}."])
