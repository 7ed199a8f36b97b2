"""One procedure under load: deployments, rollbacks, and what became of every request."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
import urllib.request
from bisect import bisect_right
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.waiting import eventually

from bench.processes import resident
from bench.site import free_port
from substitute.core.model.slots import Endpoint
from substitute.drill.load import PACED, Load
from substitute.drill.process import LoadProcess
from substitute.drill.result.latency import percentile
from substitute.drill.result.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

    from bench.comparison.procedures import Procedure
    from substitute.drill.result.recording import Answered

METHODS = ("GET", "POST")
RATE = 400
CONNECTIONS = 32
QUIET = 3.0
"""Seconds of load before each operation."""
_BODY = "0123456789" * 50


@dataclass(frozen=True)
class Operation:
    """A deployment or a rollback, in seconds of the monotonic clock."""

    name: str
    """``deploy``, ``rollback``, or ``broken``: the deployment of a version that crashes at boot."""
    began: float
    returned: float
    status: int
    """The command's exit status; -9 where it had to be ended."""


@dataclass(frozen=True)
class Figures:
    """What is told of a procedure."""

    deployments: int
    rollbacks: int
    failed: dict[str, int]
    """In all deployments, by method."""
    failed_in_rollbacks: int
    failed_when_broken: int
    """While a version was deployed that crashes at boot, and in `QUIET` seconds after."""
    status_when_broken: int
    p99_before: float
    p99_during: float
    deploy: float
    """Median seconds, until the command has returned, the new version answers and the old one does not any more."""
    rollback: float
    resident: int
    """Bytes."""


def load_for(method: str, door: Endpoint) -> Load:
    """Paced requests, a tenth of them on new connections, and four slow ones at any time."""
    body = _BODY if method == "POST" else ""
    expect = body or "version "
    return Load(
        url=f"http://{door}",
        method=method,
        body=body,
        expect=expect,
        rate=RATE,
        connections=CONNECTIONS,
        slow="/slow",
    )


def measure(procedure: Procedure, *, deployments: int, rollbacks: int, directory: Path) -> Figures:
    """Deploy and roll back so often, with requests flowing."""
    if procedure.run("deploy"):
        raise RuntimeError("The first deployment failed.")
    eventually(partial(_answers, procedure.door))
    recordings = {method: Recording() for method in METHODS}
    operations: list[Operation] = []
    with ExitStack() as stack:
        processes = []
        for method, recording in recordings.items():
            place = directory / method
            place.mkdir()
            loading = LoadProcess(load_for(method, procedure.door), recording, directory=place)
            processes.append(stack.enter_context(loading))
        for name in [*["deploy"] * deployments, *["rollback"] * rollbacks, "broken"]:
            time.sleep(QUIET)
            if name == "broken":
                held = resident(procedure.resident())
            if name != "rollback":
                procedure.repository.commit(broken=name == "broken")
            began = time.monotonic()
            status = procedure.run("rollback" if name == "rollback" else "deploy")
            operations.append(Operation(name, began, time.monotonic(), status))
        time.sleep(QUIET)
        for process in processes:
            process.stop()
    return _figures(operations, recordings, held)


def own_start(command: list[str], directory: Path, rounds: int = 5) -> float:
    """Median seconds from exec to the first answer, of the app alone."""
    took = []
    for _ in range(rounds):
        door = Endpoint("127.0.0.1", free_port())
        began = time.monotonic()
        environment = {**os.environ, "PORT": str(door.port)}
        app = subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.DEVNULL)
        eventually(partial(_answers, door))
        took.append(time.monotonic() - began)
        app.terminate()
        app.wait()
    return statistics.median(took)


def _answers(door: Endpoint) -> bool:
    try:
        urllib.request.urlopen(f"http://{door}/", timeout=10).read()
    except OSError:
        return False
    return True


def _figures(operations: list[Operation], recordings: dict[str, Recording], held: int) -> Figures:
    paced = [one for recording in recordings.values() for one in recording.answered() if one.lane in PACED]
    paced.sort(key=lambda one: one.intended)
    limits = [*(operation.began for operation in operations[1:]), float("inf")]
    lasted: dict[str, list[float]] = defaultdict(list)
    before: list[float] = []
    during: list[float] = []
    for operation, limit in zip(operations, limits, strict=True):
        end = _end(operation, limit, paced)
        lasted[operation.name].append(end - operation.began)
        if operation.name == "deploy":
            before += [o.latency for o in paced if operation.began - 1 <= o.intended < operation.began]
            during += [o.latency for o in paced if operation.began <= o.intended <= end]
    failed: Counter[tuple[str, str]] = Counter()
    for method, recording in recordings.items():
        for failure in recording.failures:
            number = bisect_right(operations, failure.at, key=lambda operation: operation.began)
            failed[operations[max(number - 1, 0)].name, method] += 1
    return Figures(
        deployments=len(lasted["deploy"]),
        rollbacks=len(lasted["rollback"]),
        failed={method: failed["deploy", method] for method in METHODS},
        failed_in_rollbacks=sum(failed["rollback", method] for method in METHODS),
        failed_when_broken=sum(failed["broken", method] for method in METHODS),
        status_when_broken=operations[-1].status,
        p99_before=percentile(sorted(before), 99),
        p99_during=percentile(sorted(during), 99),
        deploy=statistics.median(lasted["deploy"]),
        rollback=statistics.median(lasted["rollback"]),
        resident=held,
    )


def _end(operation: Operation, limit: float, paced: list[Answered]) -> float:
    """When the command had returned, the new version answered, and the old one had answered last, before `limit`."""
    old = next((one.version for one in reversed(paced) if one.intended + one.latency < operation.began), "")
    answers = [(one.intended + one.latency, one.version) for one in paced]
    here = [(at, version) for at, version in answers if operation.began < at < limit]
    first = min((at for at, version in here if version != old), default=0.0)
    last = max((at for at, version in here if version == old), default=0.0)
    return max(operation.returned, first, last)
