"""SIGKILL to the deployer, whenever: the next command succeeds with nothing fixed by hand, and no request fails.

Each third event is met with one of the two runtimes (the model of tests/unit is killed at each of its deeds). The
instants are the same each time, and with supervisord alone. For all with both, and more instants, or others:
``KILLS=200 SEED=7 pytest tests/e2e/test_killed_deployer.py``, as `make test-long` does.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load
from substitute.linux.processes import identify, signal_process
from tests.e2e.site import Site
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLS = int(os.environ.get("KILLS", "0"))
"""Random instants, for each runtime; where none were asked for, there are some."""
SEED = int(os.environ.get("SEED", "1"))

ON_BOTH_IN_LONG = pytest.mark.parametrize(
    "runtime", ["supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.long])]
)
USUAL = "deploy"
"""What is tried at each change: the events of a restart and of a rollback are among those of a deployment."""
pytestmark = pytest.mark.timeout(300 + 10 * KILLS)


@dataclass
class Killer:
    """Types commands that are killed, and holds the next one to its promise."""

    site: Site
    versions: Iterator[int] = field(default_factory=lambda: count(3))
    before: set[str] = field(default_factory=set)
    """The `state` that is left by what nobody disturbs."""
    course: list[str] = field(default_factory=list)
    """What was done, for who reads of a failure."""

    def type_and_kill(
        self, operation: str, *, event: int = 0, after: float = 60.0, guardian: bool = False
    ) -> bool:
        """Kill `operation` when it has announced so many events, or `after` seconds; False where it ended before.

        With its `guardian`: then nobody settles until the next command.
        """
        self._commit(operation)
        with self.site.popen(operation, "--json") as deployer:
            assert deployer.stdout
            announced = ""
            for _ in range(event):
                announced = deployer.stdout.readline()
            if not event:
                with suppress(subprocess.TimeoutExpired):
                    deployer.wait(after)
            if guardian:
                self.kill_guardians()
            ended = deployer.poll() is not None
            deployer.kill()
            deployer.stdout.read()
        self.course.append(f"{operation} killed at {announced.strip() or f'{after:.3f}s'}")
        return not ended and (announced != "" or not event)

    def type(self, operation: str) -> None:
        """Type it undisturbed: it succeeds, and leaves nothing."""
        self._commit(operation)
        self.course.append(operation)
        try:
            self.site.run(operation)
            self.assert_nothing_is_left()
        except AssertionError as error:
            error.add_note("\n".join(self.course))
            raise

    def assert_nothing_is_left(self) -> None:
        """One instance runs, and of everything else there is what there was."""
        self.site.assert_only_serves()
        expected = sorted(["app.py", "haproxy", "haproxy", *self.keepers])
        eventually(lambda: self.programs() == expected, "one instance, the balancer and what keeps them")
        assert self.state() == self.before

    def programs(self) -> list[str]:
        """What runs, in a word each: whatever works in the root, was told of it, or names it."""
        words = ("app.py", "haproxy", "supervisord", "guardian")
        lines = [command(pid) for pid in self.everything()]
        return sorted(next((word for word in words if word in line), line) for line in lines)

    def everything(self) -> set[int]:
        root, found = os.fsencode(self.site.root), self.site.pids()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if root in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
        return found - {os.getpid()}

    def state(self) -> set[str]:
        """All of substitute's files and sockets but the deployments' logs."""
        root = self.site.root
        inside = [str(path.relative_to(root)) for path in (root / "deploy").rglob("*")]
        beside = [path.name for path in root.iterdir()]
        return {
            name for name in inside + beside if not re.search(r"deployment-\d+\.log|\.db-(wal|shm)$", name)
        }

    @property
    def keepers(self) -> list[str]:
        return ["supervisord"] if self.site.runtime == "supervisord" else []

    def _commit(self, operation: str) -> None:
        if operation == "deploy":
            self.site.repository.commit(str(next(self.versions)))

    def kill_guardians(self) -> None:
        for pid in self.everything():
            if "guardian" in command(pid) and (process := identify(pid)):
                signal_process(process, signal.SIGKILL)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def killer(place: Path, runtime: str) -> Iterator[Killer]:
    """Two versions were deployed, and requests flow until the end. Not one fails."""
    site = Site(place)
    site.runtime = runtime
    site.configure()
    try:
        site.run("deploy")
        site.repository.commit("2")
        site.run("deploy")
        made = Killer(site)
        made.before = made.state()
        with (
            Load(site.url, connections=1, pause=0.01) as get,
            Load(site.url, connections=1, method="POST", pause=0.01) as post,
        ):
            yield made
            reports = [get.stop(), post.stop()]
        assert [failure for report in reports for failure in report.failures] == [], "\n".join(made.course)
        assert all(report.requests for report in reports)
    finally:
        site.close()


EACH_ON_BOTH = [
    pytest.param(
        *(runtime, operation),
        marks=[
            *([pytest.mark.machine, pytest.mark.slow] if runtime == "systemd" else []),
            *([] if operation == USUAL else [pytest.mark.long]),
        ],
    )
    for runtime in ("supervisord", "systemd")
    for operation in ("deploy", "rollback", "restart")
]


@pytest.mark.parametrize(("runtime", "operation"), EACH_ON_BOTH)
def test_killed_at_any_event_the_next_command_needs_nothing_fixed(
    tmp_path: Path, runtime: str, operation: str
) -> None:
    with killer(tmp_path, runtime) as made:
        following = cycle(["up", "up", operation])
        for event in count(1 + 3 * (runtime == "systemd"), 1 if KILLS else 6):
            if not made.type_and_kill(operation, event=event):
                break
            made.type(next(following))
        assert event > 15


@pytest.mark.slow
@ON_BOTH_IN_LONG
def test_killed_at_any_instant_and_once_more_the_next_command_needs_nothing_fixed(
    tmp_path: Path, runtime: str
) -> None:
    """Half of the time the next command is killed too, and a third of the time the guardian: `up` is a `settle`."""
    chance = random.Random(SEED)  # noqa: S311  # no secret
    with killer(tmp_path, runtime) as made:
        operations = ["deploy", "rollback", "restart", "up"]
        lasts = {operation: lasting(made, operation) for operation in operations}
        for _ in range(KILLS or 2):
            for kill in (True, chance.random() < 1 / 2):
                operation = chance.choice(operations)
                after = chance.uniform(0, lasts[operation])
                if kill:
                    made.type_and_kill(operation, after=after, guardian=chance.random() < 1 / 3)
            made.type(chance.choice(operations))


def lasting(made: Killer, operation: str) -> float:
    """Seconds that it takes here."""
    began = time.monotonic()
    made.type(operation)
    return time.monotonic() - began


@ON_BOTH_IN_LONG
def test_killed_with_its_guardian_nothing_changes_until_the_next_command(
    tmp_path: Path, runtime: str
) -> None:
    with killer(tmp_path, runtime) as made:
        made.site.configure(more='[app.shop.verify]\nfor = "60s"\n')
        made.site.repository.commit("3")
        with made.site.popen("deploy", "--json") as deployer:
            assert deployer.stdout
            for line in deployer.stdout:
                if json.loads(line).get("phase") == "verify":
                    break
            made.kill_guardians()
            deployer.kill()
        assert made.site.app()["slots"]["a"]["share"] == 50
        made.site.configure()
        made.type("up")
        assert made.site.app()["live"] == "b"
