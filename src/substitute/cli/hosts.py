"""``substitute hosts``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.cli.command import argument, command, option
from substitute.cli.options import Call, host_options, json_option, one_of, root_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ACTIONS = ("setup",)


@command
@argument(
    "action", required=False, metavar="[setup]", click_type=one_of(_ACTIONS), plain=_ACTIONS.__contains__
)
@option(
    "--package",
    metavar="SPEC",
    help="With setup: what pip installs on a host that has not this version of substitute. "
    "[default: substitute-deploy of this version]",
)
@json_option
@root_option
@host_options
def hosts(call: Call, action: str | None, package: str | None) -> int:
    """List the hosts of [hosts], and whether each can be reached and has what it needs.

    "hosts setup" brings there what is missing: substitute of this version (in ~/.local, by pip), the root directory
    with this substitute.toml, files that it names as env_file where there are none, and what starts everything after
    a reboot (see "install"). It may be typed again at any time, after a change of substitute.toml for example: what
    is there already is left alone.

    Without --hosts or --on it is all hosts.
    """
    from substitute import __version__  # noqa: PLC0415
    from substitute.cli.fleet import open_fleet  # noqa: PLC0415
    from substitute.hosts.asking import at_once  # noqa: PLC0415
    from substitute.hosts.fleet import Chosen  # noqa: PLC0415
    from substitute.hosts.setup import PACKAGE, Bundle, set_up  # noqa: PLC0415
    from substitute.hosts.survey import look_at  # noqa: PLC0415

    call.fleet = call.fleet or Chosen(groups="all")
    fleet = open_fleet(call)
    text = (fleet.root / "substitute.toml").read_bytes()
    if action == "setup":
        package = package or f"{PACKAGE}=={__version__}"
        bundle = Bundle(__version__, package, text, fleet.files())
        answers = at_once(fleet.hosts, lambda host: set_up(fleet.there, host, bundle))
    else:
        answers = at_once(fleet.hosts, lambda host: look_at(fleet.there, host, text))
    return _told(call, fleet.hosts, answers)


def _told(call: Call, chosen: Sequence[Any], answers: Mapping[str, Any]) -> int:
    from substitute.console.stream import paint_for  # noqa: PLC0415
    from substitute.hosts.errors import HostError  # noqa: PLC0415
    from substitute.hosts.report.tables import documents, setup_lines  # noqa: PLC0415

    if call.json:
        call.console.document(documents(chosen, answers, "host"))
    else:
        call.console.lines(setup_lines(chosen, answers, paint_for(call.console.out)))
    return 1 if any(isinstance(one, HostError) for one in answers.values()) else 0
