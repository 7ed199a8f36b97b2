"""``substitute check``."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import (
    Call,
    app_option,
    commit_argument,
    host_options,
    json_option,
    path_option,
    root_option,
    wait_option,
)


@command
@commit_argument
@path_option("--slow", "A path whose answer takes the app a second or more; asked for just before SIGTERM.")
@path_option("--large", "A path whose answer has 100 KB or more; read only after SIGTERM.")
@path_option("--upload", "A path that takes a POST; its body is sent only after SIGTERM.")
@option("--strict", is_flag=True, help="Exit with status 1 where something is not proven, too.")
@wait_option
@app_option
@json_option
@root_option
@host_options
def check(
    call: Call,
    /,
    *,
    commit: str | None,
    app: str | None,
    strict: bool,
    slow: str | None,
    large: str | None,
    upload: str | None,
) -> int:
    """SIGTERM test: build and start COMMIT beside the live version, send it SIGTERM, and say what to fix.

    This is not a check of the configuration (see "config"). Builds and hooks run, and the app is started.

    COMMIT is a branch of origin, a tag or any commit; the default is the newest commit of the app's branch.

    It is fetched, built and started in the slot that is not live, as a deployment does it, but gets no traffic.
    Then it gets SIGTERM. New connections must be refused within 1 s, requests that are running must be answered in
    full, idle connections closed; it must exit within stop.timeout and leave no child behind; and the signal must
    reach it through npm, shells and other wrappers.

    The running request is one for the path of the health check: a GET, or a POST where that is answered at once, whose
    body is sent 1 s after SIGTERM. An app that answers both before the body comes proves nothing: the result is then
    "not proven". Name requests that do take a while with --slow, --large and --upload, or in [app.NAME.check]; they
    are sent instead, all at the same time.

    It warns of an app that answers late on the connections which HAProxy keeps to it.

    Hooks run as in a deployment, up to post_start, and see SUBSTITUTE_OPERATION=check. The live version goes on
    serving. A rollback to what the slot held before fetches and builds it again. Exit status 1: something is wrong
    with the app; with --strict, also where something is not proven.

    With --hosts or --on it is one host after the other, all with the same commit.
    """
    from substitute.core.check import check  # noqa: PLC0415
    from substitute.core.model.app_settings import Trials  # noqa: PLC0415

    site = call.site(call.console.aside if call.json and not call.obeys else None)
    chosen = site.app(app)
    named = chosen.trials
    trials = Trials(slow or named.slow, large or named.large, upload or named.upload)
    seen = check.check(site.host, chosen, commit, trials, kept=site.keeps_connections)
    call.console.checked(seen)
    found = seen.report
    return 0 if found.proven or (found.passed and not strict) else 1
