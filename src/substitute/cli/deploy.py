"""``substitute deploy``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


def _refuse_options(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not value or value.startswith("-")):
        raise click.BadParameter(f"{value!r} cannot be a commit.", ctx, parameter)
    return value


commit_argument = click.argument("commit", required=False, callback=_refuse_options)


@click.command()
@commit_argument
@click.option(
    "--if-changed",
    is_flag=True,
    help="Do nothing where COMMIT is live already and the app's keys in substitute.toml are as they were then. "
    "Changes of build and of values in env_file are not seen.",
)
@app_option
@json_option
@root_option
@click.pass_obj
def deploy(call: Call, commit: str | None, app: str | None, *, if_changed: bool) -> None:
    """Make COMMIT live without failing a request.

    COMMIT is a branch of origin, a tag or any commit; the default is the newest commit of the app's branch.

    The new version is fetched, built and started in the slot that is not live. When it passes its health check, it
    gets the traffic, and the old version finishes its requests and stops. If anything fails before that, or you type
    Ctrl-C, the old version goes on serving, untouched.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    site = call.site()
    deployment.deploy(site.host, site.app(app), commit, if_changed=if_changed)
