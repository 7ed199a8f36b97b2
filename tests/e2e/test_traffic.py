"""Every kind of traffic across every operation, on the embedded balancer: nothing fails.

The requests in flight begin before the operation on the instance that serves then, and end when it has left the
balancer (in a deployment that fails: when that has failed), so each of them straddles the switch.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import traffic_app
from tests.e2e.site import Site, fetch
from tests.e2e.traffic import ENOUGH, FLOWING, IN_FLIGHT, KINDS, STREAMS
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from substitute.demo.load import Load
    from tests.e2e.traffic import Conversation, Events

APP = Path(traffic_app.__file__).read_text(encoding="utf-8")
OPERATIONS = ("deploy", "rollback", "restart", "failed deploy")
BAD = {"broken": "build", "sick": "ready", "unwell": "verify"}
"""Versions that fail, and in which phase; the last one after it got traffic."""


@dataclass
class Crossing:
    """What traffic saw of an operation."""

    old: str
    """Which instance served before."""
    new: str = ""
    """Which one after it."""
    in_flight: int = 0
    """How many requests the old one had left when it had left the balancer."""
    events: list[dict[str, Any]] = field(default_factory=list)
    answered: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    """By the kind of traffic: who answered."""
    failures: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """By the kind of traffic: what failed."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two versions, of which the second is live."""
    yield from site_of_two(tmp_path_factory.mktemp("patient"))


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same, but it does not wait long for what is in flight."""
    yield from site_of_two(
        tmp_path_factory.mktemp("impatient"), limits='[app.shop.drain]\ntimeout = "500ms"\n'
    )


@pytest.fixture(scope="module", params=OPERATIONS)
def crossing(request: pytest.FixtureRequest, site: Site) -> Crossing:
    """An operation with all kinds of traffic at once."""
    return cross(site, request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails(crossing: Crossing, kind: str) -> None:
    assert crossing.failures[kind] == []
    assert crossing.answered[kind] >= ({crossing.old} if kind in IN_FLIGHT else {crossing.old, crossing.new})


def test_what_is_in_flight_finishes_on_the_old_instance_and_is_told(crossing: Crossing) -> None:
    assert crossing.in_flight >= len(IN_FLIGHT)
    ended = crossing.events[-1]
    if ended["event"] == "failed":
        assert crossing.new == crossing.old
        assert [event["phase"] for event in crossing.events] == [*BAD.values()]
        assert any("unwell" in name for kind in FLOWING for name in crossing.answered[kind])
    else:
        assert crossing.new != crossing.old
        assert ended["drained"]["finished"] >= len(IN_FLIGHT)
        assert ended["drained"]["cut"] == 0


@pytest.mark.parametrize(
    "operation", ["deploy", *(pytest.param(one, marks=pytest.mark.long) for one in OPERATIONS[1:-1])]
)
def test_streams_that_outlive_the_drain_timeout_are_cut_after_it_and_counted(
    impatient: Site, operation: str
) -> None:
    with ExitStack() as stack:
        streams = {
            kind: Ending(stack.enter_context(closing(begin(impatient.port))))
            for kind, begin in STREAMS.items()
        }
        loads = stack.enter_context(under(all_that_flows(impatient)))
        events = operate(impatient, operation)
        cut_at = {kind: stream.cut_at() for kind, stream in streams.items()}
    assert [failure for load in loads for failure in load.stop().failures] == []
    assert events[-1]["drained"]["at_sigterm"] == events[-1]["drained"]["cut"] == len(streams)
    (stopping,) = [event for event in events if event["event"] == "phase" and event["phase"] == "stop"]
    for kind, moment in cut_at.items():
        assert moment >= datetime.fromisoformat(stopping["time"]).timestamp(), kind


def test_a_version_that_dies_with_traffic_fails_what_it_had_itself_and_the_next_deploy_works_unaided(
    impatient: Site,
) -> None:
    name = fetch(impatient.url)
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(begin(impatient.port))) for begin in STREAMS.values()]
        loads = stack.enter_context(under(all_that_flows(impatient)))
        (died,) = fail(impatient, {"dying": "verify"})
        release(impatient, name)
        for stream in streams:
            stream.finish(name)
    assert (died["phase"], died["event"]) == ("verify", "failed")
    # Each load has one request at a time. One that has reached an instance which dies fails if it may not be repeated;
    # if it may, it is sent once more, and this version dies with that as well if it runs again by then.
    failures = [load.stop().failures for load in loads]
    assert max(map(len, failures)) <= 1, failures
    operate(impatient, "deploy")
    assert fetch(impatient.url) != name


def all_that_flows(site: Site) -> list[Load]:
    return [load for make in FLOWING.values() for load in make(site.url)]


class Ending:
    """Waits until a stream is cut, which it must be."""

    def __init__(self, stream: Events | Conversation) -> None:
        self._stream = stream
        self._at = 0.0
        self._thread = Thread(target=self._wait)
        self._thread.start()

    def cut_at(self) -> float:
        """When it was; 0 where it ended in another way."""
        self._thread.join()
        return self._at

    def _wait(self) -> None:
        if self._stream.is_cut():
            self._at = time.time()


def site_of_two(place: Path, limits: str = "") -> Iterator[Site]:
    site = Site(place)
    site.configure(more=limits)
    for version in ("1", "2"):
        site.repository.commit(version, app=APP)
        site.run("deploy")
    yield site
    site.close()


def cross(site: Site, operation: str) -> Crossing:
    """Do `operation` while traffic of all kinds flows."""
    seen = Crossing(old=fetch(site.url))
    loads = {kind: make(site.url) for kind, make in FLOWING.items()}
    with ExitStack() as stack:
        flights = {}
        for kind, begin in IN_FLIGHT.items():
            with noting(seen.failures[kind]):
                flights[kind] = stack.enter_context(closing(begin(site.port)))
        eventually(
            lambda: in_flight(site, seen.old) == len(flights), "each of them has reached the old instance"
        )

        def finish() -> None:
            seen.in_flight = in_flight(site, seen.old)
            release(site, seen.old)
            for kind, flight in flights.items():
                with noting(seen.failures[kind]):
                    flight.finish(seen.old)
                    seen.answered[kind] = {seen.old}

        stack.enter_context(under([load for made in loads.values() for load in made]))
        seen.events = operate(site, operation, finish)
        seen.new = fetch(site.url)
    for kind, made in loads.items():
        for report in [load.stop() for load in made]:
            seen.failures[kind] += map(str, report.failures)
            seen.answered[kind] |= set(report.versions)
    return seen


def operate(
    site: Site, operation: str, when_switched: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Do `operation` and call `when_switched` when the old instance has left the balancer, or after all failed."""
    if operation == "failed deploy":
        events = fail(site, BAD)
        when_switched()
        return events
    if operation == "deploy":
        site.repository.commit("3", app=APP)
    events = []
    with site.popen(operation, "--json") as running:
        assert running.stdout
        for line in running.stdout:
            events.append(json.loads(line))
            if (events[-1]["event"], events[-1].get("phase")) == ("phase", "drain"):
                when_switched()
    assert running.returncode == 0
    return events


def fail(site: Site, versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Deploy one bad version after the other, and then be as before; how each of them ended."""
    configuration = site.root / "substitute.toml"
    before = configuration.read_text()
    ended = []
    for version, phase in versions.items():
        patience = "500ms" if phase == "ready" else "60s"
        configuration.write_text(
            f'{before}[app.shop.health]\ntimeout = "{patience}"\n[app.shop.verify]\nfor = "60s"\n'
        )
        site.repository.commit(version, app=APP, build="exit 1\n" if phase == "build" else "true\n")
        ended.append(site.events("deploy", exit_status=1)[-1])
    configuration.write_text(before)
    return ended


@contextmanager
def under(loads: list[Load]) -> Iterator[list[Load]]:
    """Have `loads` flow before, during and after the block."""
    with ExitStack() as stack:
        for load in loads:
            stack.enter_context(load)
        for load in loads:
            load.wait_for(ENOUGH)
        yield loads
        for load in loads:
            load.wait_for(ENOUGH)


@contextmanager
def noting(failures: list[str]) -> Iterator[None]:
    """Have what fails in the block noted."""
    try:
        yield
    except (AssertionError, OSError, HTTPException) as error:
        failures.append(repr(error))


def in_flight(site: Site, name: str) -> int:
    """The requests that the instance `name` has from the balancer."""
    found: int = site.app()["slots"][name[-1]]["in_flight"]
    return found


def release(site: Site, name: str) -> None:
    """Have the instance `name` answer what is slow, and end its event streams. Where it is gone, they will say so."""
    with suppress(OSError):
        fetch(f"http://127.0.0.1:{site.ports['ab'.index(name[-1])]}/release")
