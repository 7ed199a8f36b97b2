"""One procedure under load: deployments, rollbacks, and what became of every request."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.contracts.strict_client import until

from bench.memory import resident
from bench.site import free_port
from substitute.core.slots import Endpoint
from substitute.drill.latency import percentile
from substitute.drill.load import PACED, Load
from substitute.drill.process import LoadProcess
from substitute.drill.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

    from bench.comparison.procedures import Procedure
    from substitute.drill.recording import Answered

METHODS = ("GET", "POST")
RATE = 250
CONNECTIONS = 16
QUIET = 2.0
"""Seconds of load before each operation."""
_BODY = "0123456789" * 50


@dataclass(frozen=True)
class Operation:
    """A deployment or a rollback, in seconds of the monotonic clock."""

    name: str
    began: float
    returned: float


@dataclass(frozen=True)
class Figures:
    """What is told of a procedure."""

    deployments: int
    failed: dict[str, int]
    """In all deployments, by method."""
    requests: dict[str, int]
    failed_in_rollbacks: int
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
    procedure.run("deploy")
    until(partial(_answers, procedure.door))
    recordings = {method: Recording() for method in METHODS}
    operations: list[Operation] = []
    with ExitStack() as stack:
        processes = []
        for method, recording in recordings.items():
            place = directory / method
            place.mkdir()
            loading = LoadProcess(load_for(method, procedure.door), recording, directory=place)
            processes.append(stack.enter_context(loading))
        for name in ["deploy"] * deployments + ["rollback"] * rollbacks:
            time.sleep(QUIET)
            if name == "deploy":
                procedure.repository.commit()
            began = time.monotonic()
            procedure.run(name)
            operations.append(Operation(name, began, time.monotonic()))
        time.sleep(QUIET)
        held = resident(procedure.resident())
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
        until(partial(_answers, door))
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
    ends = [_end(operation, limit, paced) for operation, limit in zip(operations, limits, strict=True)]
    deploys = [operation for operation in operations if operation.name == "deploy"]
    border = operations[len(deploys)].began if len(operations) > len(deploys) else float("inf")
    before: list[float] = []
    during: list[float] = []
    for operation, end in zip(deploys, ends, strict=False):
        before += [o.latency for o in paced if operation.began - QUIET / 2 <= o.intended < operation.began]
        during += [o.latency for o in paced if operation.began <= o.intended <= end]
    lasted = [end - operation.began for operation, end in zip(operations, ends, strict=True)]
    failures = {method: [f.at for f in recording.failures] for method, recording in recordings.items()}
    return Figures(
        deployments=len(deploys),
        failed={method: sum(at < border for at in found) for method, found in failures.items()},
        requests={method: recording.requests for method, recording in recordings.items()},
        failed_in_rollbacks=sum(at >= border for found in failures.values() for at in found),
        p99_before=percentile(sorted(before), 99),
        p99_during=percentile(sorted(during), 99),
        deploy=statistics.median(lasted[: len(deploys)]),
        rollback=statistics.median(lasted[len(deploys) :]),
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
