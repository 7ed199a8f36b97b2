"""Options that many commands have, and the call that they describe."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from substitute.cli.command import Parameter, argument, declared, option
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import click

    from substitute.cli.command import Function
    from substitute.console import Console
    from substitute.core.model.events import Emit
    from substitute.core.model.records import DeploymentRecord
    from substitute.hosts.fleet import Chosen
    from substitute.wiring.boot import BootSite
    from substitute.wiring.site import Site


SLOTS = ("a", "b")
COMPLETION_VARIABLE = "_SUBSTITUTE_COMPLETE"
"""What the completion scripts call the program with."""


@dataclass
class Call:
    """One call of the program: what its shared options say."""

    json: bool = False
    """Told by the edge before anything is parsed, so that errors of parsing are JSON too."""
    root: str | None = field(default=None)
    wait: float = 0.0
    """Seconds that another command on the same app is waited for."""
    fleet: Chosen | None = None
    """The hosts on which it is carried out; None: here."""
    rollout: dict[str, Any] = field(default_factory=dict)
    """How they follow each other: `batch`, and whether an earlier one goes on (`resume`)."""
    obeys: bool = False
    """Whether it is carried out for somebody who typed it elsewhere: nobody is here, and standard input is theirs."""
    _opened: list[Site] = field(default_factory=list)

    @cached_property
    def console(self) -> Console:
        """Where everything is printed."""
        from substitute.console import Console  # noqa: PLC0415

        return Console(json=self.json)

    def unwritten(self) -> str:
        """Why the result of the command could not be written whole, or empty."""
        return self.console.unwritten if "console" in self.__dict__ else ""

    def close(self) -> None:
        """Leave the terminal as it was found, and the journal in one file."""
        for site in self._opened:
            site.close()
        if "console" in self.__dict__:  # else nothing was printed, and nothing need be imported for it
            self.console.close()
            self.console.out.flush()  # a reader that went away is no matter here; later it would be

    def site(self, emit: Emit | None = None) -> Site:
        """The root that is worked on; its events go to the screen, or to `emit`."""
        from substitute.wiring.opening import open_site  # noqa: PLC0415

        return self._kept(open_site(self.root, emit or self.console, wait=self.wait))

    def site_to_read(self) -> Site:
        """The root, for commands that change nothing: root sees another user's as that user.

        Their output is a document: only warnings are shown, beside it.
        """
        from substitute.wiring.opening import open_site  # noqa: PLC0415

        return self._kept(open_site(self.root, self.console.aside, reading=True))

    def _kept(self, site: Site) -> Site:
        self._opened.append(site)
        return site

    def boot_site(self) -> BootSite:
        """The root, for what happens at boot."""
        from substitute.wiring.boot import open_boot  # noqa: PLC0415

        return open_boot(self.root, self.console.aside)


def deployment_of(site: Site, app: str | None, number: int) -> DeploymentRecord:
    """The deployment of that number, of `app` or of any app of the root. Raises UsageError where there is none."""
    from substitute.core.model.errors import UsageError  # noqa: PLC0415

    found = site.host.journal.deployment(number)
    if found is None or (app and found.app != app):
        whose = f" of {app}" if app else ""
        raise UsageError(f"There is no deployment {number}{whose}.", cure="`substitute history` lists them.")
    return found


def _remember_root(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.find_root().ensure_object(Call).root = str(value)


def _is_readable_directory(value: str) -> bool:
    return os.path.isdir(value) and os.access(value, os.R_OK)  # noqa: PTH112  # pathlib is not needed here


def directory() -> click.Path:
    """A directory, for click."""
    from pathlib import Path  # noqa: PLC0415

    import click  # noqa: PLC0415

    return click.Path(file_okay=False, path_type=Path)


def _refuse_options(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    import click  # noqa: PLC0415

    if value is not None and (not value or value.startswith("-")):
        raise click.BadParameter(f"{value!r} cannot be a commit.", ctx, parameter)
    return value


commit_argument = argument("commit", required=False, callback=_refuse_options, plain=bool)


def number(least: int, most: int | None = None) -> Callable[[], click.IntRange]:
    """What makes the type of a number, for click."""

    def make() -> click.IntRange:
        import click  # noqa: PLC0415

        return click.IntRange(least, most)

    return make


def one_of(names: tuple[str, ...]) -> Callable[[], click.Choice[str]]:
    """What makes the type of one of `names`, for click."""

    def make() -> click.Choice[str]:
        import click  # noqa: PLC0415

        return click.Choice(names)

    return make


ROOT = Parameter(
    "-C",
    "--root",
    metavar="DIR",
    click_type=directory,
    plain=_is_readable_directory,
    expose_value=False,
    callback=_remember_root,
    help="Work in this directory, which holds substitute.toml.",
)
root_option = declared(ROOT)
"""Declares ``-C``, which stands before the command's name or after it."""


def time_of() -> click.ParamType[float]:
    """A duration, for click."""
    import click  # noqa: PLC0415

    class Time(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 alone
        name = "TIME"

        def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
            from substitute.config.durations import parse_duration  # noqa: PLC0415

            text = str(value)
            try:
                return parse_duration(float(text) if re.fullmatch(r"[0-9.]+", text) else text)
            except ValueError as error:
                self.fail(f"{text!r} is not {error}", param, ctx)

    return Time()


def _remember_wait(ctx: click.Context, _parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        ctx.find_root().ensure_object(Call).wait = value


wait_option = option(
    "--wait",
    metavar="TIME",
    click_type=time_of,
    expose_value=False,
    callback=_remember_wait,
    help="If another command is working on the app, wait for it so long (10m) instead of ending with 3.",
)
"""For commands that work on an app."""


now_option = option(
    "--now",
    is_flag=True,
    help="If an earlier version still finishes its requests, cut them: its slot is needed.",
)
"""For commands that need the slot which is not live."""


def app_names(ctx: click.Context) -> list[str]:
    """The apps of substitute.toml, for completion: read without validating, and without a word on errors."""
    import tomllib  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    call = ctx.find_root().obj
    named = (call.root if isinstance(call, Call) else None) or os.environ.get("SUBSTITUTE_ROOT")
    with suppress(OSError, ValueError, AttributeError):
        start = Path(named or ".").resolve()
        for directory in [start] if named else [start, *start.parents]:
            if (directory / "substitute.toml").is_file():
                return list(tomllib.loads((directory / "substitute.toml").read_text()).get("app", {}))
    return []


def complete_instances(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete ``shop_a`` and ``shop_b``."""
    names = [f"{app}_{slot}" for app in app_names(ctx) for slot in SLOTS]
    return [name for name in names if name.startswith(incomplete)]


app_option = option(
    "-a",
    "--app",
    metavar="NAME",
    shell_complete=lambda ctx, _parameter, incomplete: [
        name for name in app_names(ctx) if name.startswith(incomplete)
    ],
    help="The app, where substitute.toml has several.",
)
json_option = option("--json", is_flag=True, expose_value=False, help="Print JSON, for programs.")
"""The edge has seen it already."""


def _remember_hosts(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        from substitute.hosts.fleet import Chosen  # noqa: PLC0415

        call = ctx.find_root().ensure_object(Call)
        said = {} if call.fleet is None else vars(call.fleet)
        call.fleet = Chosen(**{**said, str(parameter.name).removeprefix("on_"): value})


def host_options(function: Function) -> Function:
    """Declare the options of a command that can be carried out on other hosts ([hosts] of substitute.toml)."""
    for names, metavar, text in (
        (
            ("--without", "on_without"),
            "HOST,…",
            "Leave out these hosts.",
        ),
        (
            ("--on", "on_hosts"),
            "HOST,…",
            "Do it on these hosts of [hosts], over ssh.",
        ),
        (
            ("--hosts", "on_groups"),
            "GROUP,…",
            "Do it on the hosts of these groups of [hosts], over ssh; `all` is every host.",
        ),
    ):
        function = option(*names, metavar=metavar, by_click=True, callback=_remember_hosts, help=text)(
            function
        )
    return function


def _remember_rollout(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        ctx.find_root().ensure_object(Call).rollout[str(parameter.name)] = value


def _batch() -> click.ParamType[str]:
    import click  # noqa: PLC0415

    class Batch(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 alone
        name = "BATCH"

        def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
            from substitute.config.hosts import Batch as Known  # noqa: PLC0415

            try:
                return Known.parse(str(value))
            except ValueError as error:
                self.fail(f"{value!r} is not {error}", param, ctx)

    return Batch()


batch_option = option(
    "--batch",
    metavar="N",
    click_type=_batch,
    by_click=True,
    callback=_remember_rollout,
    help="With --hosts: so many hosts at the same time (4, 25%), in the place of hosts.batch.",
)
resume_option = option(
    "--resume",
    is_flag=True,
    by_click=True,
    callback=_remember_rollout,
    help="With --hosts: go on with a deployment that was stopped. A host where its commit is live is left alone.",
)


def path_option(name: str, help_text: str) -> Callable[[Function], Function]:
    """An option that takes the path of a URL."""
    return option(name, metavar="PATH", callback=_require_path, help=help_text)


def _require_path(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    import click  # noqa: PLC0415

    if value is not None and not re.fullmatch(r"/[!-~]*", value):
        raise click.BadParameter(f"{value!r} does not begin with / or holds what no URL may.")
    return value
