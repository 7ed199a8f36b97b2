"""The scheduler: one small process of a root that starts the commands of crons, kept by the root's runtime.

It runs where a version is live that has crons, and nowhere else. What is due it asks the journal each minute, so nobody
has to tell it of a new version.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from substitute import __version__
from substitute.core.model.crons import SCHEDULER
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Program
from substitute.core.state.lock import own_lock, short_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.host import Host
    from substitute.core.model.crons import Cron
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord

_STARTED_WITH = "scheduler"
"""The fact that says which substitute runs in it."""
_ITS_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "XDG_RUNTIME_DIR", "PYTHONDONTWRITEBYTECODE")
"""No TZ: the machine's time zone is meant, whoever has started it."""
_STOP_LIMIT = 5.0


def crons_of(record: AppRecord) -> Mapping[str, Cron]:
    """The crons of the version that is live: none where it was stopped by hand, or taken down."""
    live = record.live_slot
    runs = live and live.started and live.version and not record.stopped
    return live.version.crons if live and live.version and runs else {}


def keep_scheduler(host: Host, *, ends: bool = False) -> None:
    """Have it run where it should, and nowhere else; with `ends` nowhere. Raises RuntimeFailedError.

    A root that is one of several edges has in its place what follows the others, also before anything is live.

    One that runs another substitute, that an earlier runtime keeps, or nothing any more, is replaced. What it started
    goes on. Without it the balancer may be the last that the earlier runtime keeps, and can come over too.
    """
    wanted = is_wanted(host) and not ends
    if not wanted and not _is_kept(host) and host.journal.fact(_STARTED_WITH) is None:
        return
    with short_lock(host.root / "deploy" / "run" / own_lock(SCHEDULER)):
        program = _program(host)
        started_with = f"{__version__} {program.command}"
        if wanted and _is_kept(host) and host.journal.fact(_STARTED_WITH) == started_with:
            return
        running = running_scheduler(host)
        if running and running == host.one_offs.myself():
            return  # who settles is what would be replaced: the next command does it
        # Noted first: whoever is killed in here leaves a fact by which the next one looks for it.
        host.journal.remember(_STARTED_WITH, "")
        host.runtime.stop(SCHEDULER, running, timeout=_STOP_LIMIT)
        if wanted:
            host.runtime.start(program)
            host.journal.remember(_STARTED_WITH, started_with)
        else:
            host.journal.forget(_STARTED_WITH)
    host.reroute()


def is_wanted(host: Host) -> bool:
    """Whether a version is live that has crons, or there are other edges to follow."""
    return host.edges is not None or any(crons_of(host.journal.app(app)) for app in host.journal.names())


def running_scheduler(host: Host) -> Process | None:
    """Its process, whoever keeps it."""
    try:
        process = host.runtime.inspect(SCHEDULER).process
    except RuntimeFailedError:  # it does not tell
        process = None
    found = process or host.runtime.trace(SCHEDULER)
    return found if found and host.is_ours(found) else None


def _is_kept(host: Host) -> bool:
    try:
        return SCHEDULER in host.runtime.kept()
    except RuntimeFailedError:  # it does not tell; what runs stays as it is
        return running_scheduler(host) is not None


def _program(host: Host) -> Program:
    import shlex  # noqa: PLC0415  # `status` needs none

    run = host.root / "deploy" / "run"
    environment = {name: host.environ[name] for name in _ITS_ENVIRONMENT if name in host.environ}
    places = host.environ.get("PYTHONPATH", "").split(":")
    if absolute := [place for place in places if place.startswith("/")]:
        environment["PYTHONPATH"] = ":".join(absolute)
    module = "substitute.follower" if host.edges else "substitute.scheduler"
    return Program(
        name=SCHEDULER,
        command=shlex.join([sys.executable, "-P", "-m", module, str(host.root)]),
        directory=run,
        environment=environment,
        log=run / "log" / "scheduler.log",
        stop_timeout=_STOP_LIMIT,
        protections=frozenset(),  # what it runs for an app is no more shut in than what is typed
        outlived=True,
    )
