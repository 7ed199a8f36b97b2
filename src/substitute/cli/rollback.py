"""``substitute rollback``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import (
    Call,
    app_option,
    commit_argument,
    host_options,
    json_option,
    now_option,
    root_option,
    wait_option,
)


@command
@commit_argument
@option("--force", is_flag=True, help="Go back even across a migration that is marked as a contract.")
@now_option
@wait_option
@app_option
@json_option
@root_option
@host_options
def rollback(call: Call, commit: str | None, app: str | None, *, force: bool, now: bool) -> None:
    """Go back to the version that was live before the present one, or to COMMIT.

    COMMIT is the hash, the beginning of one, or the tag of a version that was live. What is kept (`releases`) starts
    without a build; `substitute history` marks it. Else that version is fetched and built again, and this is said.
    A second rollback goes forward again.

    The database stays as it is: no "release" runs. If the migration of a deployment in between is marked as a contract
    (see "release"), the rollback is refused.
    """
    from substitute.core.deploy import deployment  # noqa: PLC0415

    site = call.site()
    deployment.rollback(site.host, site.known(app), commit, force=force, now=now)
