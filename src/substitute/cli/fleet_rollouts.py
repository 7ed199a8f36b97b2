"""Deploy, restart, promote and rollback on many hosts, and what is done on one host after the other."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from substitute.cli.fleet import apps_of, tell, words_of
from substitute.config.root import FILE
from substitute.console.stream import marks_for
from substitute.core.interrupts import Interrupts
from substitute.core.model.errors import UsageError
from substitute.hosts.crew import Crew
from substitute.hosts.errors import HostError
from substitute.hosts.files import fetch
from substitute.hosts.in_turn import InTurn
from substitute.hosts.outcomes import State, exit_status
from substitute.hosts.report.progress import Progress
from substitute.hosts.rollout import Rollout
from substitute.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from substitute.cli.command import Command
    from substitute.cli.fleet import Fleet
    from substitute.cli.options import Call
    from substitute.hosts.outcomes import Outcome


def rollouts(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    """Deploy, restart, promote or roll back, in batches; the exit status. After an app that fails, no other begins."""
    apps = apps_of(fleet, said.get("app"), several=command.name == "deploy")
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
            if not all(one.state in {State.SUCCEEDED, State.UNCHANGED} for one in outcomes):
                outcomes = rollout.with_truth(outcomes)
        finally:
            progress.close()
    tell(call, outcomes, command=command, app=app)
    return outcomes


def _archive(fleet: Fleet, app: str, command: str, commit: str | None) -> Path | None:
    """The file that is to be deployed, where that is one which is here."""
    section = fleet.apps[app]
    source = section.get("source") if isinstance(section, dict) else None
    file = Path(commit or "")
    is_archive = source == "archive" or (source == "image" and bool(file.suffix) and file.is_file())
    return file if command == "deploy" and is_archive and commit and file.exists() else None


def check(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    """Check an app on one host after the other; the exit status."""
    (app,) = apps_of(fleet, said["app"], several=False)
    _refuse_archive(fleet, app, said["commit"])
    options = words_of(call, command, said, without={"app", "commit"})[1:]
    outcomes = _in_turn(call, fleet, app, lambda each: each.check(said["commit"], options))
    tell(call, outcomes, command="check", app=app)
    return exit_status(outcomes)


def drill(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    """Hold a drill on one host after the other, and fetch the reports; the exit status."""
    (app,) = apps_of(fleet, said["app"], several=False)
    operation, commit = said["operation"], said["commit"]
    _refuse_archive(fleet, app, commit)
    if said["report"] and not said["report"].resolve().parent.is_dir():
        raise UsageError(f"{said['report']} cannot be written.", fact="There is no such directory here.")
    typed = {**said, "headers": tuple(f"{name}: {value}" for name, value in said["headers"])}
    options = words_of(call, command, typed, without={"app", "operation", "commit", "report"})[1:]
    page = f"{fleet.there.root}/deploy/run/drill-{time.time_ns()}.html"
    pages = ["--report", page] if said["report"] else []
    outcomes = _in_turn(call, fleet, app, lambda each: each.drill(operation, commit, [*options, *pages]))
    tell(call, outcomes, command="drill", app=app)
    if said["report"]:
        _fetch(call, fleet, page, said["report"], [one.host for one in outcomes if one.result])
    return exit_status(outcomes)


def _in_turn(call: Call, fleet: Fleet, app: str, work: Callable[[InTurn], list[Outcome]]) -> list[Outcome]:
    progress = Progress(call.console, _digest(fleet.root / FILE), results=lambda found: _lines(call, found))
    with Interrupts(lambda _: None) as interrupts:
        crew = Crew(fleet.there, interrupts, progress)
        try:
            return work(InTurn(fleet.there, crew, progress, fleet.hosts, app))
        finally:
            progress.close()


def _lines(call: Call, document: Mapping[str, Any]) -> Iterable[str]:
    """A check or a drill for people."""
    if "checks" in document:
        from substitute.console.checks import check_lines  # noqa: PLC0415

        return check_lines(document, _plain, marks=marks_for(call.console.out))
    from substitute.drill.report.summary import lines  # noqa: PLC0415

    return lines(document, _plain)


def _plain(text: str, _style: str) -> str:
    return text


def _fetch(call: Call, fleet: Fleet, page: str, wanted: Path, names: Sequence[str]) -> None:
    """Bring the page of each host: as FILE-HOST.html where there are several."""
    for host in fleet.hosts:
        if host.name not in names:
            continue
        file = wanted if len(fleet.hosts) == 1 else wanted.with_stem(f"{wanted.stem}-{host.name}")
        try:
            write_atomically(file, fetch(fleet.there, host, page), mode=0o644)
        except HostError as error:
            call.console.error(error)
        else:
            call.console.lines([] if call.json else [f"report of {host.name}: {file}"])


def _refuse_archive(fleet: Fleet, app: str, commit: str | None) -> None:
    if _archive(fleet, app, "deploy", commit):
        raise UsageError(
            "Only `deploy` brings an archive to other hosts.", cure="Type the command on the host itself."
        )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
