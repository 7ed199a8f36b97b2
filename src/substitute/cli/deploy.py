"""``substitute deploy``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import (
    Call,
    app_option,
    batch_option,
    commit_argument,
    host_options,
    json_option,
    now_option,
    resume_option,
    root_option,
    time_of,
    wait_option,
)
from substitute.core.model.app_settings import Canary
from substitute.core.model.errors import UsageError
from substitute.values import replace


@command
@commit_argument
@option(
    "--sha256",
    metavar="HEX",
    help="What the SHA-256 of the archive must be. Another one is refused, and nothing changes.",
)
@option(
    "--if-changed",
    is_flag=True,
    help="Do nothing where COMMIT is live already and the app's keys in substitute.toml are as they were then. "
    "Changes of build and of values in env_file are not seen.",
)
@option(
    "--force",
    is_flag=True,
    help="Deploy even where COMMIT changes nothing in the paths that the app watches.",
)
@option(
    "--hold",
    metavar="[TIME]",
    is_flag=False,
    flag_value="24h",
    click_type=time_of,
    help="Do not make it live: have it ready, to be looked at, and wait so long (default: 24h) for `promote` or "
    "`abort`. Then it is aborted.",
)
@option(
    "--all-at-once",
    is_flag=True,
    help="Run no canary ([app.NAME.canary]): the version is needed now.",
)
@option(
    "--skip-release",
    is_flag=True,
    help="Do not run the app's `release`: it has run on another host, for this one too.",
)
@option("--tag", metavar="TAG", default="", hidden=True, help="The tag that led to COMMIT on another host.")
@now_option
@wait_option
@app_option
@json_option
@root_option
@host_options
@resume_option
@batch_option
def deploy(
    call: Call,
    commit: str | None,
    app: str | None,
    *,
    sha256: str | None,
    if_changed: bool,
    force: bool,
    hold: float | None,
    all_at_once: bool,
    skip_release: bool,
    tag: str,
    now: bool,
) -> None:
    """Make COMMIT live without failing a request.

    COMMIT is a branch of origin, a tag or any commit; the default is the newest commit of the app's branch.
    With source = "archive" it is a file or a directory that was built elsewhere, with source = "image" a tag of the
    image, or the file of one (`docker save`).

    The new version is fetched, built and started in the slot that is not live. When it passes its health check, it
    gets the traffic, and the old version finishes its requests and stops. If anything fails before that, or you type
    Ctrl-C, the old version goes on serving, untouched.

    An app with `watch` is left alone, with status 0, if COMMIT changes nothing there. Without -a, if there are several
    apps, those that changed are deployed, one after the other. When one fails, those before it stay live and those
    after it are not begun; the exit status is that of the failure.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    if if_changed and force:
        raise UsageError("--if-changed and --force exclude each other.")
    if hold == 0:
        raise UsageError(
            "--hold 0 would abort it at once.", cure="Write how long it is to be held, such as 2h."
        )
    site = call.site()
    chosen = site.deployed(app)
    if all_at_once:
        chosen = [replace(one, canary=Canary()) for one in chosen]
    if len(chosen) == 1:
        deployment.deploy(
            *(site.host, chosen[0], commit),
            sha256=sha256,
            if_changed=if_changed,
            force=force,
            now=now,
            hold_for=hold,
            skip_release=skip_release,
            tag=tag,
        )
        return
    for option_, typed in {
        "--now": now,
        "--sha256": sha256,
        "--hold": hold,
        "--skip-release": skip_release,
        "--tag": tag,
    }.items():
        if typed:
            raise UsageError(f"{option_} is for one app.", cure="Name it with -a.")
    from substitute.core.deploy import several  # noqa: PLC0415

    several.deploy_several(site.host, chosen, commit, force=force)
