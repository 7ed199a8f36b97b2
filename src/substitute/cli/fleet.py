"""Which hosts are meant by ``--hosts`` and ``--on``, what is typed there, and what is said of how that ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from substitute.config.loader import load_hosts
from substitute.config.root import FILE, find_root
from substitute.console.jsonlines import json_line
from substitute.console.stream import paint_for
from substitute.core.model.errors import SubstituteError, UsageError
from substitute.hosts.asking import There
from substitute.hosts.fleet import Chosen, chosen_hosts
from substitute.hosts.outcomes import State, exit_status
from substitute.hosts.report import tables
from substitute.hosts.ssh.transport import OpenSsh
from substitute.io.clock import SystemClock
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from substitute.cli.command import Command
    from substitute.cli.options import Call
    from substitute.config.models.hosts import HostsConfig
    from substitute.hosts.channel import RemoteHost
    from substitute.hosts.outcomes import Outcome


@dataclass(frozen=True)
class Fleet:
    """The hosts that are meant, and what is known of them here."""

    root: Path
    config: HostsConfig
    hosts: list[RemoteHost]
    there: There
    apps: Mapping[str, Any]
    """The sections of the apps, as they are written."""

    def files(self) -> dict[str, bytes]:
        """Those that substitute.toml names as `env_file`, below the root, and that are here."""
        named = [app.get("env_file") for app in self.apps.values() if isinstance(app, dict)]
        found = {str(name): self.root / str(name) for name in named if name}
        return {
            name: file.read_bytes()
            for name, file in found.items()
            if file.is_file() and file.resolve().is_relative_to(self.root) and not name.startswith("/")
        }


def open_fleet(call: Call) -> Fleet:
    """Read [hosts] of the root, and choose. Raises ConfigError and UsageError."""
    root = find_root(directory=call.root, environ=os.environ)
    config, raw = load_hosts(root)
    hosts = chosen_hosts(config, call.fleet or Chosen())
    ssh_config = (root / config.ssh_config) if config.ssh_config else None
    there = There(
        OpenSsh(connect_timeout=config.connect_timeout, config=ssh_config),
        SystemClock(),
        root=config.root or root.name,
        answer_timeout=config.answer_timeout,
        lost_timeout=config.lost_timeout,
    )
    apps = raw.get("app")
    return Fleet(root, config, hosts, there, apps if isinstance(apps, dict) else {})


def words_of(call: Call, command: Command, said: Mapping[str, Any], *, without: set[str]) -> list[str]:
    """What is typed on a host for the same."""
    options, arguments, behind = list[str](), list[str](), list[str]()
    for one in command.parameters:
        value = said.get(one.variable)
        if one.variable in without or one.variable not in said or value is None or value == one.default:
            continue
        if one.takes_all:
            behind = ["--", *value]
        elif not one.is_option:
            arguments.append(str(value))
        elif one.is_flag:
            options.append(one.names[0])
        else:
            for each in value if isinstance(value, tuple) else (value,):
                options += [one.names[0], str(each)]
    waits = ["--wait", str(call.wait)] if call.wait else []
    return [command.name, *arguments, *options, *waits, *behind]


def tell(
    call: Call, outcomes: Sequence[Outcome], *, command: str, app: str = "", with_status: bool = False
) -> None:
    """Say what is where, and what to type next; `with_status` also the exit status of the command on each host."""
    status = exit_status(outcomes)
    if call.json:
        ended = {"event": "rollout_ended", "operation": command, **({"app": app} if app else {})}
        call.console.out.line(
            json_line({**ended, "exit": status, "hosts": [one.document() for one in outcomes]})
        )
        return
    call.console.lines(tables.outcome_lines(outcomes, paint_for(call.console.out), with_status=with_status))
    if any(one.state is State.HELD for one in outcomes):
        again = (
            "`substitute promote` with the same hosts makes live what is held; `substitute abort` stops it."
        )
        call.console.lines([again])
    if status:
        call.console.error(_error(outcomes, command, status))


def _error(outcomes: Sequence[Outcome], command: str, status: int) -> SubstituteError:
    bad = [one for one in outcomes if not one.state.is_good]
    good, first = len(outcomes) - len(bad), next((one for one in bad if one.reason), bad[0])
    what = f"`{command}` has come to its end on {good} of {len(outcomes)} hosts."
    if not any(one.state.has_begun or one.state.is_good for one in outcomes):
        what = f"`{command}` has begun on no host."
    cure = first.cure
    if command == "deploy" and good:
        cure = f"{cure} Then `deploy --resume` goes on with the others; `rollback` with the same hosts goes back."
    kind = UsageError if status == UsageError.exit_status else SubstituteError
    return kind(what, fact=f"{first.host}: {first.reason or first.state}", cure=cure.strip())


def apps_of(fleet: Fleet, app: str | None, *, several: bool) -> list[str]:
    """The apps that are meant by `app`, which is one or none: all, where they may be `several`. Raises UsageError."""
    if app and app not in fleet.apps:
        raise UsageError(
            f"No app is called {app!r} in {fleet.root}/{FILE}.", cure=f"There is {', '.join(fleet.apps)}."
        )
    if app or several or len(fleet.apps) == 1:
        return [app] if app else list(fleet.apps)
    named = " or ".join(f"`-a {one}`" for one in fleet.apps)
    raise UsageError("Several apps are in this root.", cure=f"Name one of them: {named}.")
