"""Workers that leave: those that a reload has replaced, and all of a HAProxy that another has succeeded.

They finish what they have, for as long as that takes, and hand what is new to the newest worker. Nobody waits for
them: what they have in flight counts in the drain of the instance that it is sent to.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import answers
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.socket import MASTER, Absent, Hung, Silent
from substitute.core.ports.balancer import Traffic
from substitute.linux.processes import identify, signal_process
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from substitute.core.model.slots import Endpoint

_SUCCEEDED = "haproxy-master-{}.sock"
COUNTED = ("show stat -1 6 -1", "show servers state")
"""The statistics that `answers.traffic` reads, of backends and of servers."""


@dataclass(frozen=True)
class Worker:
    """A worker, and the master's socket that it is asked through."""

    socket: str
    pid: int

    def ask(self, run_directory: Path, *commands: str) -> str:
        """Its answers. Empty where it is gone meanwhile; else raises `Silent`."""
        try:
            return api.ask(run_directory, self.socket, *(f"@!{self.pid} {command}" for command in commands))
        except Hung:
            raise
        except Silent:
            if identify(self.pid):
                raise
            return ""


def all_of(run_directory: Path) -> list[Worker]:
    """Every worker that leaves. Raises `Silent` where that can't be known."""
    known = api.processes(run_directory)
    if known is None:
        raise _without_master(run_directory)
    return _left(run_directory, known)


def _left(run_directory: Path, known: answers.Processes) -> list[Worker]:
    found = [Worker(MASTER, pid) for pid in known.old]
    for path, account in _succeeded(run_directory):
        if account and account.master != known.master:
            found += [Worker(path.name, pid) for pid in (*account.workers, *account.old)]
    return found


def routing_by_old_weights(run_directory: Path) -> list[Worker]:
    """Those that may yet send a new request by the weights that they had. Raises `Silent`."""
    found = []
    for leaver in all_of(run_directory):
        said = leaver.ask(run_directory, "show info", "show servers state")
        seen = answers.leaving_worker(said)
        if identify(leaver.pid) and not (seen.leaves and seen.hands_on):
            found.append(leaver)
    return found


def traffic(run_directory: Path) -> dict[Endpoint, Traffic]:
    """What the newest worker has counted, and those that leave. Raises `Silent`, also where they changed meanwhile.

    Kept connections to an instance that has left the balancer are closed on the way.
    """
    newest, left = known = workers(run_directory)
    said = newest.ask(run_directory, *COUNTED)
    found = answers.traffic(said)
    for leaver in left:
        for endpoint, old in answers.traffic(leaver.ask(run_directory, *COUNTED)).items():
            # It ends with its last request, and takes along how that one ended.
            so_far = replace(old, cut=None) if old.in_flight else old
            found[endpoint] = answers.added(found.get(endpoint, Traffic(0, 0, 0, 0)), so_far)
    if workers(run_directory) != known:
        raise Silent("Its workers are changing.")
    _close_unused(run_directory, newest, said, found)
    return found


def _close_unused(
    run_directory: Path, newest: Worker, said: str, counted: Mapping[Endpoint, Traffic]
) -> None:
    """Close what the newest worker keeps to an instance that has left the balancer and has nothing in flight.

    An app may wait for these connections after SIGTERM. Workers that leave close theirs within a second.
    """
    over = {endpoint for endpoint, seen in counted.items() if not seen.share and not seen.in_flight}
    if unused := [key for key, endpoint in answers.idle(said).items() if endpoint in over]:
        newest.ask(run_directory, *api.closing(unused))


def workers(run_directory: Path) -> tuple[Worker, list[Worker]]:
    """The newest, and those that leave. Raises `Silent`.

    The master knows: on the worker's own socket one that is being succeeded may answer too.
    """
    known = api.processes(run_directory)
    if known is None or not known.workers:
        raise _without_master(run_directory)
    return Worker(MASTER, known.workers[-1]), _left(run_directory, known)


def _without_master(run_directory: Path) -> Silent:
    """It is about to end, whatever its worker still says; `Absent` where that is gone too."""
    api.description(run_directory)
    return Silent("Its master does not answer.")


def remember(run_directory: Path, master: int) -> None:
    """Keep a name for the socket of `master`: its successor takes the one that it has."""
    name = run_directory / _SUCCEEDED.format(master)
    name.unlink(missing_ok=True)
    os.link(run_directory / MASTER, name)


def end_succeeded(run_directory: Path) -> None:
    """Have whoever was succeeded finish and end, though the command that began it was killed."""
    for path, account in _succeeded(run_directory):
        known = api.processes(run_directory)
        if account is None or (
            known and known.master == account.master
        ):  # gone, or its successor did not come
            path.unlink(missing_ok=True)
        elif known and (process := identify(account.master)):
            workers = (Worker(path.name, pid).ask(run_directory, "show info") for pid in account.workers)
            if not all(answers.leaving_worker(said).leaves for said in workers if said):
                signal_process(process, signal.SIGUSR1)


def forget(run_directory: Path) -> None:
    """Remove the names that `remember` gave."""
    for path in run_directory.glob(_SUCCEEDED.format("*")):
        path.unlink(missing_ok=True)


def _succeeded(run_directory: Path) -> Iterator[tuple[Path, answers.Processes | None]]:
    for path in sorted(run_directory.glob(_SUCCEEDED.format("*"))):
        account = None
        with suppress(Absent):
            account = answers.processes(api.ask(run_directory, path.name, "show proc"))
        yield path, account
