"""The guardian, started beside a deployment; and what keeps a command that was detached."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from signal import SIGKILL
from typing import TYPE_CHECKING, NoReturn

from substitute.core.model.programs import Process
from substitute.guardian import wait
from substitute.io.files import write_atomically
from substitute.linux.processes import identify, signal_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from substitute.core.model.records import RunRecord
    from substitute.core.ports.runtime import Runtime
    from substitute.core.state.journal import Journal

_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "XDG_RUNTIME_DIR",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)
"""What a guardian gets of the environment; it settles by what the journal remembers."""


@contextmanager
def guarded(root: Path, app: str, runtime: Runtime, journal: Journal) -> Iterator[Callable[[], None]]:
    """Have a small process settle `app` if this one dies inside; end it unused otherwise.

    It blocks on the lock that the deployer holds, so it must be gone before that is released; not where it is to go on
    with what is left, and with `journal`, which calling what is given says. One that an earlier deployment has left
    asleep is ended.
    """
    run = root / "deploy" / "run"
    end_sleeping(root, app)
    end = runtime.spawn(
        f"{app}_guardian",
        _waiting(root, app),
        directory=root,
        environment=_environment(),
        log=run / "guardian.log",
    )
    ends = [end]

    def hand_over() -> None:
        ends.clear()
        journal.hand_over()

    try:
        yield hand_over
    finally:
        for each in ends:
            each()


def sleep_until(when: float, root: Path, app: str) -> NoReturn:
    """Become a guardian that looks after the standby of `app` at the time `when`, in seconds since the epoch."""
    if myself := identify(os.getpid()):
        note = json.dumps([myself.pid, myself.start_time, myself.boot_id])
        with suppress(OSError):  # a full disk: the next deployment then leaves it asleep, which harms nothing
            write_atomically(_asleep(root / "deploy" / "run", app), note)
    command = [*_waiting(root, app, when), "standby"]
    os.execv(command[0], command)  # noqa: S606


def _waiting(root: Path, app: str, when: float = 0.0) -> list[str]:
    lock = root / "deploy" / "run" / f"{app}.lock"
    return [
        *(sys.executable, "-I", "-S", wait.__file__, str(lock), str(when)),
        *(sys.executable, "-P", "-m", "substitute.recovery", str(root), app),
    ]


def _asleep(run: Path, app: str) -> Path:
    """The file that names the guardian which sleeps."""
    return run / f"{app}.asleep"


def end_sleeping(root: Path, app: str) -> None:
    """End what looks after a standby. Who holds the lock needs it no more: it only sleeps, or waits for the lock.

    No error where there is none.
    """
    file = _asleep(root / "deploy" / "run", app)
    with suppress(OSError, ValueError, TypeError):
        signal_process(Process(*json.loads(file.read_text())), SIGKILL)
        file.unlink()


def keep(root: Path, runtime: Runtime, run: RunRecord, stop_timeout: float, log: Path) -> None:
    """Have a process that outlives this one carry on with `run`; what keeps it from that goes to `log`."""
    runtime.spawn(
        run.name,
        [sys.executable, "-P", "-m", "substitute.detached", str(root), run.app, str(run.id)],
        directory=root,
        environment=_environment(),
        log=log,
        stop_timeout=stop_timeout,
    )


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if "PYTHONPATH" in found:  # a relative place would be one in the root, where the guardian works
        places = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(place for place in places if place.startswith("/"))
    return found
