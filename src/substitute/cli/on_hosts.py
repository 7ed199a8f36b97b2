"""A command with ``--hosts`` or ``--on``: it is carried out on those hosts, and what they say is put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from substitute.cli import fleet_rollouts
from substitute.cli.fleet import open_fleet, tell, words_of
from substitute.console.stream import paint_for
from substitute.core.interrupts import Interrupts
from substitute.core.model.errors import NothingServesError, SubstituteError
from substitute.hosts.asking import at_once
from substitute.hosts.crew import Crew
from substitute.hosts.errors import HostError
from substitute.hosts.orders import Order
from substitute.hosts.outcomes import exit_status
from substitute.hosts.report import runs, tables
from substitute.hosts.report.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.cli.command import Command
    from substitute.cli.fleet import Fleet
    from substitute.cli.options import Call

_IN_ROLLOUTS = {"deploy", "restart", "promote", "rollback"}
_IN_TURN = {"check": fleet_rollouts.check, "drill": fleet_rollouts.drill}
_OF_PROGRAMS = {"run", "cron"}
"""What runs something that is not substitute's, and ends with its exit status."""


def on_hosts(call: Call, command: Command, said: Mapping[str, Any]) -> int:
    """Carry out `command`, with what was `said`, on the hosts that are meant; the exit status."""
    fleet = open_fleet(call)
    if command.name in {"status", "history"} or (command.name == "cron" and not said["action"]):
        return _documents(call, fleet, command, said)
    if command.name in _IN_ROLLOUTS:
        return fleet_rollouts.rollouts(call, fleet, command, said)
    if command.name in _IN_TURN:
        return _IN_TURN[command.name](call, fleet, command, said)
    if command.name == "run" and len(fleet.hosts) == 1 and not (said["detach"] or call.json):
        _as_if_there(call, fleet, words_of(call, command, said, without=set()))
    return _all_at_once(call, fleet, command, said)


def _as_if_there(call: Call, fleet: Fleet, words: list[str]) -> NoReturn:
    """Run it on the only host with the terminal, or the pipes, that are here. Raises HostError where it cannot be."""
    (host,) = fleet.hosts
    Order(fleet.there, host, ["status"], lambda *_: None).greeted()  # else ssh would say why, in its words
    call.close()
    fleet.there.transport.become(host, ["-C", fleet.there.root, "obey", "--attached", "--", *words])


def _documents(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    words = words_of(call, command, said, without=set())
    answers = at_once(fleet.hosts, lambda host: fleet.there.ask(host, words))
    console, paint = call.console, paint_for(call.console.out)
    if call.json:
        console.document(tables.documents(fleet.hosts, answers, command.name))
    elif command.name == "cron":
        console.lines(runs.cron_lines(fleet.hosts, answers, paint))
    elif said.get("runs") or said.get("cron"):
        console.lines(runs.run_lines(fleet.hosts, answers, paint, limit=int(said["lines"])))
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


def _all_at_once(call: Call, fleet: Fleet, command: Command, said: Mapping[str, Any]) -> int:
    words = words_of(call, command, said, without=set())
    progress = Progress(call.console, output=command.name in _OF_PROGRAMS, results=_lines)
    progress.expect([host.name for host in fleet.hosts], ends=command.name != "logs")
    with Interrupts(lambda _: None) as interrupts:
        crew = Crew(fleet.there, interrupts, progress)
        try:
            outcomes = crew.carry_out([(host, words) for host in fleet.hosts])
        finally:
            progress.close()
    if command.name != "logs":
        tell(call, outcomes, command=command.name, with_status=command.name in _OF_PROGRAMS)
    return exit_status(outcomes)


def _lines(document: Any) -> Iterable[str]:
    """What a person is told of what a host printed: the name of a detached command, or the latest release."""
    if isinstance(document, dict) and "rollback_refused" in document:
        return runs.release_lines(document)
    return [str(document["run"])] if isinstance(document, dict) and "run" in document else []
