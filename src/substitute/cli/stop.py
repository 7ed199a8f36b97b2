"""``substitute stop``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, complete_instances, json_option, root_option


@click.command()
@click.argument("app_name", shell_complete=complete_instances)
@click.option("--force", is_flag=True, help="Stop it even if it is the one that serves.")
@json_option
@root_option
@click.pass_obj
def stop(call: Call, app_name: str, *, force: bool) -> None:
    """Let the instance APP_NAME finish its requests and stop it; return when its process is gone.

    To stop the instance that serves, --force is needed. Then nothing serves until the next start, deploy or
    rollback; "up" does not start it.
    """
    from substitute.core.operate import manual  # noqa: PLC0415

    site = call.site()
    manual.stop(site.host, site.all_known(), app_name, force=force)
