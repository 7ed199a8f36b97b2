"""One request before everything: a drill of a front door that does not answer would prove nothing."""

from __future__ import annotations

import time

from substitute.core.model.errors import UsageError
from substitute.drill.client.connections import Lane
from substitute.drill.client.reactor import Reactor
from substitute.drill.client.recorder import Recorder
from substitute.drill.client.wire import Target
from substitute.drill.load import LaneName, Load


def check(load: Load) -> None:
    """Ask once, as the load will. Raises UsageError where the answer is none, or not a good one."""
    try:
        target = Target.of(load)
    except OSError as error:
        raise UsageError(f"{load.url} has no address.", fact=f"{error.strerror or error}.") from error
    reactor, recorder = Reactor(), Recorder()
    lane = Lane(LaneName.KEEP_ALIVE, load, target, reactor, recorder, connections=1)
    lane.drive(time.monotonic())
    lane.end()
    while not lane.idle:
        reactor.turn(time.monotonic() + 0.05)
        lane.check_timeouts(time.monotonic())
    lane.close()
    reactor.close()
    for failure in recorder.take()["failures"]:
        raise UsageError(
            f"{load.method} {load.url}{load.path} does not answer well, before anything was begun.",
            fact=f"{failure['kind']}: {failure['detail']}.",
            cure="Choose what does with --path, --header, --method or --url; `substitute status` shows what serves.",
        )
