"""``substitute drill``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from substitute.cli.command import argument, command, option
from substitute.cli.options import (
    Call,
    app_option,
    host_options,
    json_option,
    path_option,
    root_option,
    time_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\xff](?:[\t\x20-\xff]*[\x21-\xff])?)")


def _headers(_ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> Any:
    found = [(text, _HEADER.fullmatch(text)) for text in value]
    for text, match in found:
        if match is None:
            raise click.BadParameter(f"{text!r} is not of the form 'Name: value'.")
    return tuple((match[1], match[2]) for _, match in found if match)


def _load_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        option("--rate", metavar="N", default=100.0, show_default=True, type=click.FloatRange(0.1, 50000),
                     help="Requests a second, whatever the app does."),
        option("--connections", metavar="N", default=10, show_default=True, type=click.IntRange(1, 5000),
                     help="Over so many connections."),
        option("--new", metavar="PERCENT", default=10.0, show_default=True, type=click.FloatRange(0, 100),
                     help="So many percent of the requests open a connection of their own."),
        path_option("--path", "What is asked for.  [default: /]"),
        option("--method", metavar="METHOD", default="GET", show_default=True,
                     type=click.Choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]), help="How."),
        option("--header", "headers", metavar="'NAME: VALUE'", multiple=True, callback=_headers,
                     help="A header for every request. Can be given again."),
        option("--body", metavar="TEXT", default="", help="The body of every request."),
        option("--expect", metavar="TEXT", default="",
                     help="An answer without this in its body is a failure."),
        option("--timeout", default="30s", show_default=True, click_type=time_of,
                     help="A request that takes longer is a failure."),
        path_option("--slow", "Beside it, 4 requests at any time for this path, which takes long in the app."),
        path_option("--upload", "Beside it, 4 POSTs at any time to this path, held open by the client."),
        option("--pause", default="2s", show_default=True, click_type=time_of,
                     help="Between the two halves of an upload."),
        path_option("--websocket", "Beside it, 4 WebSockets on this path, pinged once a second."),
        path_option("--sse", "Beside it, 4 streams of server-sent events from this path."),
        option("--version-header", metavar="NAME", default="X-Version", show_default=True,
                     help="The header of an answer that names the app's version."),
        option("--insecure", is_flag=True, help="Do not verify the certificate of an https URL."),
    ]  # fmt: skip
    for add in reversed(options):
        function = add(function)
    return function


@command
@argument("operation", required=False, type=click.Choice(["deploy", "rollback", "restart"]))
@argument("commit", required=False)
@option(
    "--url",
    metavar="URL",
    help="Where your users connect, if that is not the address of substitute's HAProxy.",
)
@option("--before", default="3s", show_default=True, click_type=time_of, help="Load before the operation.")
@option("--after", default="3s", show_default=True, click_type=time_of, help="Load after it.")
@option("--duration", click_type=time_of, help="Load in all, at least.  [default without an operation: 10s]")
@_load_options
@option(
    "--skip-release", is_flag=True, help="With deploy: do not run the app's `release`, as `deploy` does it."
)
@option("--report", metavar="FILE.html", type=click.Path(dir_okay=False, path_type=Path),
              help="Write a page that shows it all.")  # fmt: skip
@app_option
@json_option
@root_option
@host_options
def drill(
    call: Call,
    /,
    *,
    operation: str | None,
    commit: str | None,
    app: str | None,
    report: Path | None,
    skip_release: bool,
    **options: Any,
) -> int:
    """Send requests to your app, run the operation meanwhile, and count every request that fails.

    OPERATION is deploy (of COMMIT), rollback or restart, as the command of that name does it. Without one, requests
    are only sent: a baseline. They go to the front door, the address where your users connect.

    The clients never send a request twice, so what browsers and libraries hide is counted: connections refused,
    reset or closed early, timeouts, statuses of 400 and above, wrong bodies. Latencies count from when a request
    was meant to be sent. Exit status 0: the operation succeeded and no request failed. Else it is the operation's
    own, or 1 if it succeeded and requests failed.

    With --hosts or --on each host holds its own drill, with load from itself on its own front door, one host after the
    other. With an operation none begins after one that has failed. FILE-HOST.html is the report of each.
    """
    from substitute.drill.session import Session  # noqa: PLC0415
    from substitute.drill.typed import load_for, timing_for  # noqa: PLC0415

    if commit is not None and (operation != "deploy" or commit.startswith("-") or not commit):
        raise click.UsageError(f"{commit!r} cannot be a commit to {operation}.")
    session = Session(call.console)
    site = call.site(session.emit)
    chosen = site.app(app)
    balancer = site.config.balancer
    timing = timing_for(options, baseline=operation is None)
    load = load_for(
        options,
        kind=balancer.kind,
        listen=balancer.listen,
        domains=chosen.domains,
        in_waves=chosen.drain.waves is not None,
    )
    typed = tuple(word for word in (operation, commit) if word)
    return session.hold(
        site.host, chosen, load, timing, typed=typed, report=report, skip_release=skip_release
    )
