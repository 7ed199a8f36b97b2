"""``substitute start``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.cli.command import argument, command
from substitute.cli.options import (
    Call,
    complete_instances,
    directory,
    host_options,
    json_option,
    number,
    root_option,
    wait_option,
)

if TYPE_CHECKING:
    from pathlib import Path


@command
@argument("app_name", shell_complete=complete_instances)
@argument("app_dir", click_type=directory)
@argument("port", click_type=number(1, 65535))
@wait_option
@json_option
@root_option
@host_options
def start(call: Call, app_name: str, app_dir: Path, port: int) -> None:
    """Start the instance APP_NAME in APP_DIR on PORT; return when the port answers.

    If APP_NAME is a slot (shop_a is slot a of the app shop), it runs the app's start command. The slot becomes a
    standby: it gets no traffic.

    Any other name starts a program beside the apps. If it is the name of an app, it runs that app's start command, with
    its environment, user and limits; else the line "web:" of APP_DIR's Procfile, else scripts.start of its
    package.json. "up" starts it again, after a reboot and after "down"; "stop" forgets it.
    """
    from substitute.core.operate import manual  # noqa: PLC0415

    site = call.site()
    manual.start(site.host, site.all_known(), app_name, app_dir, port)
