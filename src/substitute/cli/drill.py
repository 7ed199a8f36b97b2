"""``substitute drill``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from substitute.cli.options import Call, app_option, json_option, path_option, root_option

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\xff](?:[\t\x20-\xff]*[\x21-\xff])?)")


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 alone
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from substitute.config.durations import parse_duration  # noqa: PLC0415

        text = str(value)
        try:
            return parse_duration(float(text) if re.fullmatch(r"[0-9.]+", text) else text)
        except ValueError as error:
            self.fail(f"{text!r} is not {error}", param, ctx)


def _headers(_ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> Any:
    found = [(text, _HEADER.fullmatch(text)) for text in value]
    for text, match in found:
        if match is None:
            raise click.BadParameter(f"{text!r} is not of the form 'Name: value'.")
    return tuple((match[1], match[2]) for _, match in found if match)


def _load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    time = _Duration()
    options = [
        click.option("--rate", metavar="N", default=100.0, show_default=True, type=click.FloatRange(0.1, 50000),
                     help="Requests a second, whatever the app does."),
        click.option("--connections", metavar="N", default=10, show_default=True, type=click.IntRange(1, 5000),
                     help="Over so many connections."),
        click.option("--new", metavar="PERCENT", default=10.0, show_default=True, type=click.FloatRange(0, 100),
                     help="So many percent of the requests open a connection of their own."),
        path_option("--path", "What is asked for.  [default: /]"),
        click.option("--method", metavar="METHOD", default="GET", show_default=True,
                     type=click.Choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]), help="How."),
        click.option("--header", "headers", metavar="'NAME: VALUE'", multiple=True, callback=_headers,
                     help="A header for every request. Can be given again."),
        click.option("--body", metavar="TEXT", default="", help="The body of every request."),
        click.option("--expect", metavar="TEXT", default="",
                     help="An answer without this in its body is a failure."),
        click.option("--timeout", default="30s", show_default=True, type=time,
                     help="A request that takes longer is a failure."),
        path_option("--slow", "Beside it, 4 requests at any time for this path, which takes long in the app."),
        path_option("--upload", "Beside it, 4 POSTs at any time to this path, held open by the client."),
        click.option("--pause", default="2s", show_default=True, type=time,
                     help="Between the two halves of an upload."),
        path_option("--websocket", "Beside it, 4 WebSockets on this path, pinged once a second."),
        path_option("--sse", "Beside it, 4 streams of server-sent events from this path."),
        click.option("--version-header", metavar="NAME", default="X-Version", show_default=True,
                     help="The header of an answer that names the app's version."),
        click.option("--insecure", is_flag=True, help="Do not verify the certificate of an https URL."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("operation", required=False, type=click.Choice(["deploy", "rollback", "restart"]))
@click.argument("commit", required=False)
@click.option(
    "--url",
    metavar="URL",
    help="Where your users connect, if that is not the address of substitute's HAProxy.",
)
@click.option(
    "--before", default="3s", show_default=True, type=_Duration(), help="Load before the operation."
)
@click.option("--after", default="3s", show_default=True, type=_Duration(), help="Load after it.")
@click.option(
    "--duration", type=_Duration(), help="Load in all, at least.  [default without an operation: 10s]"
)
@_load_options
@click.option("--report", metavar="FILE.html", type=click.Path(dir_okay=False, path_type=Path),
              help="Write a page that shows it all.")  # fmt: skip
@app_option
@json_option
@root_option
@click.pass_obj
def drill(
    call: Call,
    /,
    *,
    operation: str | None,
    commit: str | None,
    app: str | None,
    report: Path | None,
    **options: Any,
) -> int:
    """Send requests to your app, run the operation meanwhile, and count every request that fails.

    OPERATION is deploy (of COMMIT), rollback or restart, as the command of that name does it. Without one, requests
    are only sent: a baseline. They go to the front door, the address where your users connect.

    The clients never send a request twice, so what browsers and libraries hide is counted: connections refused,
    reset or closed early, timeouts, statuses of 400 and above, wrong bodies. Latencies count from when a request
    was meant to be sent. Exit status 0: the operation succeeded and no request failed. Else it is the operation's
    own, or 1 if it succeeded and requests failed.
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
    load = load_for(options, kind=balancer.kind, listen=balancer.listen, domains=chosen.domains)
    typed = tuple(word for word in (operation, commit) if word)
    return session.hold(site.host, chosen, load, timing, typed=typed, report=report)
