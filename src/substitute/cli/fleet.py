"""A command with ``--hosts`` or ``--on``: it is carried out on those hosts, and what they say is put together."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from substitute.config.loader import load_hosts
from substitute.config.root import FILE, find_root
from substitute.console.jsonlines import json_line
from substitute.console.stream import paint_for
from substitute.core.interrupts import Interrupts
from substitute.core.model.errors import NothingServesError, SubstituteError, UsageError
from substitute.hosts.asking import There, at_once
from substitute.hosts.crew import Crew
from substitute.hosts.errors import HostError
from substitute.hosts.fleet import Chosen, chosen_hosts
from substitute.hosts.outcomes import exit_status
from substitute.hosts.report import tables
from substitute.hosts.report.progress import Progress
from substitute.hosts.rollout import Rollout
from substitute.hosts.ssh.transport import OpenSsh
from substitute.io.clock import SystemClock
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from substitute.cli.command import Command
    from substitute.cli.options import Call
    from substitute.config.models.hosts import HostsConfig
    from substitute.hosts.channel import RemoteHost
    from substitute.hosts.outcomes import Outcome

_IN_ROLLOUTS = {"deploy", "restart", "promote", "rollback"}
_DOCUMENTS = {"status", "history"}


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


def on_hosts(call: Call, command: Command, said: Mapping[str, Any]) -> int:
    """Carry out `command`, with what was `said`, on the hosts that are meant; the exit status."""
    fleet = open_fleet(call)
    if command.name in _DOCUMENTS and not (said.get("runs") or said.get("cron")):
        return _documents(call, fleet, command, said)
    if command.name in _IN_ROLLOUTS:
        return _rollouts(call, fleet, command, said)
    return _all_at_once(call, fleet, command, said)


def words_of(call: Call, command: Command, said: Mapping[str, Any], *, without: set[str]) -> list[str]:
    """What is typed on a host for the same."""
    options, arguments = [], []
    for one in command.parameters:
        value = said.get(one.variable)
        if one.variable in without or one.variable not in said or value is None or value == one.default:
            continue
        if not one.is_option:
            arguments.append(str(value))
        elif one.is_flag:
            options.append(one.names[0])
        else:
            options += [one.names[0], str(value)]
    waits = ["--wait", str(call.wait)] if call.wait else []
    return [command.name, *arguments, *options, *waits]


def _documents(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    words = words_of(call, command, said, without=set())
    answers = at_once(fleet.hosts, lambda host: fleet.there.ask(host, words))
    console, paint = call.console, paint_for(call.console.out)
    if call.json:
        console.document(tables.documents(fleet.hosts, answers, command.name))
    elif command.name == "status" and len(answers) == 1 and _is_answer(alone := next(iter(answers.values()))):
        console.status(alone)
    elif command.name == "status":
        console.lines(tables.status_lines(fleet.hosts, answers, paint))
    else:
        console.lines(tables.history_lines(fleet.hosts, answers, paint, limit=int(said["lines"])))
    given = [one for one in answers.values() if _is_answer(one)]
    if any(isinstance(one, dict) and one.get("out_of_service") for one in given):
        return NothingServesError.exit_status
    return 0 if len(given) == len(answers) else SubstituteError.exit_status


def _is_answer(answer: object) -> TypeGuard[Mapping[str, Any]]:
    return not isinstance(answer, HostError)


def _rollouts(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    apps = _apps(fleet, said.get("app"), several=command.name == "deploy")
    options = words_of(call, command, said, without={"app", "commit"})[1:]
    statuses = []
    for app in apps:
        outcomes = _rollout(call, fleet, app, command.name, said.get("commit"), options=options)
        statuses.append(exit_status(outcomes))
        if statuses[-1]:
            break
    return statuses[-1]


def _rollout(
    call: Call, fleet: Fleet, app: str, command: str, commit: str | None, *, options: Sequence[str]
) -> list[Outcome]:
    """One app on all hosts, to the table of what is where."""
    progress = Progress(call.console, _digest(fleet.root / FILE))
    with Interrupts(lambda _: None) as interrupts:
        crew = Crew(fleet.there, interrupts, progress)
        rollout = Rollout(
            fleet.there,
            crew,
            progress,
            fleet.config,
            fleet.hosts,
            app,
            call.rollout.get("batch") or fleet.config.batch,
            waits=bool(call.wait),
        )
        try:
            if archive := _archive(fleet, app, command, commit):
                outcomes = rollout.deploy_archive(archive, options, resume="resume" in call.rollout)
            elif command == "deploy":
                outcomes = rollout.deploy(commit, options, resume="resume" in call.rollout)
            elif command == "rollback":
                outcomes = rollout.rollback(commit, options)
            else:
                outcomes = rollout.restart(options, command=command)
            if not all(one.state.is_good for one in outcomes):
                outcomes = rollout.with_truth(outcomes)
        finally:
            progress.close()
    _tell(call, outcomes, command=command, app=app)
    return outcomes


def _archive(fleet: Fleet, app: str, command: str, commit: str | None) -> Path | None:
    """The file that is to be deployed, where that is one which is here."""
    section = fleet.apps[app]
    source = section.get("source") if isinstance(section, dict) else None
    file = Path(commit or "")
    is_archive = source == "archive" or (source == "image" and bool(file.suffix) and file.is_file())
    return file if command == "deploy" and is_archive and commit and file.exists() else None


def _all_at_once(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    words = words_of(call, command, said, without=set())
    progress = Progress(call.console)
    progress.expect([host.name for host in fleet.hosts], ends=command.name != "logs")
    with Interrupts(lambda _: None) as interrupts:
        crew = Crew(fleet.there, interrupts, progress)
        try:
            outcomes = crew.carry_out([(host, words) for host in fleet.hosts])
        finally:
            progress.close()
    if command.name != "logs":
        _tell(call, outcomes, command=command.name)
    return exit_status(outcomes)


def _tell(call: Call, outcomes: Sequence[Outcome], *, command: str, app: str = "") -> None:
    """What is where, and what to type next."""
    status = exit_status(outcomes)
    if call.json:
        ended = {"event": "rollout_ended", "operation": command, **({"app": app} if app else {})}
        call.console.out.line(
            json_line({**ended, "exit": status, "hosts": [one.document() for one in outcomes]})
        )
        return
    call.console.lines(tables.outcome_lines(outcomes, paint_for(call.console.out)))
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


def _apps(fleet: Fleet, app: str | None, *, several: bool) -> list[str]:
    if app and app not in fleet.apps:
        raise UsageError(
            f"No app is called {app!r} in {fleet.root}/{FILE}.", cure=f"There is {', '.join(fleet.apps)}."
        )
    if app or several or len(fleet.apps) == 1:
        return [app] if app else list(fleet.apps)
    named = " or ".join(f"`-a {one}`" for one in fleet.apps)
    raise UsageError("Several apps are in this root.", cure=f"Name one of them: {named}.")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
