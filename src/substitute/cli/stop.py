"""``substitute stop``."""

from __future__ import annotations

from substitute.cli.command import argument, command, option
from substitute.cli.options import (
    Call,
    complete_instances,
    host_options,
    json_option,
    root_option,
    wait_option,
)


@command
@argument("app_name", shell_complete=complete_instances)
@option("--force", is_flag=True, help="Stop it even if it is the one that serves.")
@wait_option
@json_option
@root_option
@host_options
def stop(call: Call, app_name: str, *, force: bool) -> None:
    """Let the instance APP_NAME finish its requests and stop it; return when its process is gone.

    A command of "run" is ended by its name: "stop run-7".

    To stop the instance that serves, --force is needed. Then nothing serves until the next start, deploy or
    rollback; "up" does not start it.
    """
    from substitute.core.operate import manual  # noqa: PLC0415

    site = call.site()
    manual.stop(site.host, site.all_known(), app_name, force=force)
