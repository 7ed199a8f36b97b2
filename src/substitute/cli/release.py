"""``substitute release``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import Call, app_option, host_options, json_option, root_option


@command
@option("--contract", is_flag=True, help="Mark the latest release as a contract.")
@option("--no-contract", is_flag=True, help="Take that mark away.")
@app_option
@json_option
@root_option
@host_options
def release(call: Call, app: str | None, *, contract: bool, no_contract: bool) -> None:
    """Show the latest release: which deployment ran the "release" commands, when, and what came of it.

    Nothing is run. "deploy" runs the commands, once for each commit that is not live.

    With --contract: the versions before that deployment do not survive its migration. "rollback" to one of them is
    refused from then on. The same is said by the line "Substitute-Contract: yes" at the end of the message of a commit
    that the deployment brings. --no-contract takes either back.
    """
    from substitute.core.model.errors import UsageError  # noqa: PLC0415
    from substitute.core.operate import releases  # noqa: PLC0415

    if contract and no_contract:
        raise UsageError(
            "--contract and --no-contract say the opposite of each other.", cure="Type one of them."
        )
    site = call.site() if contract or no_contract else call.site_to_read()
    chosen = site.known(app)
    if contract or no_contract:
        releases.guard(site.host, chosen, contract=contract)
    call.console.release(releases.latest(site.host, chosen))
