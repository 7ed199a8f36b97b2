"""The matrix: every kind of traffic across every operation. Not one request fails, not one stream is cut."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.site import Site, eventually
from tests.e2e.traffic import KINDS, Events, OldRequests, Requests, Socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.traffic import Traffic

APP = Path(__file__).parent / "traffic_app" / "app.js"
OPERATIONS = ("deploy", "rollback", "restart", "failed deploy")
ENOUGH = 50


@dataclass
class Course:
    """How one operation went, under all kinds of traffic at once."""

    old: str
    """The instance that was live before."""
    new: str
    """The one that is live after."""
    ended: dict[str, Any]
    """The operation's last event."""
    failures: dict[str, str] = field(default_factory=dict)
    answered_by: dict[str, set[str]] = field(default_factory=dict)


class TrafficSite(Site):
    """A root with the app of all kinds of traffic, and a version to go back to."""

    @property
    def release(self) -> Path:
        """The file that ends what is held."""
        return self.root / "release"

    def prepare(self, operation: str, *, more: str = "") -> None:
        """Bring it to where `operation` makes sense; `more` is configuration."""
        self.configure(start="node app.js", more=f'env = {{ RELEASE = "{self.release}" }}\n{more}')
        for version in ("1", "2"):
            self.commit(version)
            self.run("deploy")
        if operation.endswith("deploy"):
            self.commit(
                "3", app="throw new Error('cannot find the database')" if "failed" in operation else ""
            )

    def commit(self, version: str, *, app: str = "") -> None:
        """Commit a version of it."""
        (self.repository.directory / "app.js").write_text(app or APP.read_text())
        self.repository.commit(version)

    def operate(self, operation: str) -> Iterator[dict[str, Any]]:
        """Run it, and yield its events as they come."""
        with self.popen(operation.rsplit(maxsplit=1)[-1], "--json") as command:
            assert command.stdout
            for line in command.stdout:
                yield json.loads(line)

    def live_instance(self) -> str:
        """Version and pid of what is live."""
        app = self.app()
        slot = app["slots"][app["live"]]
        directory = self.root / f"shop_{app['live']}"
        return f"{(directory / 'version.txt').read_text().strip()}-{slot['pid']}"

    def in_flight(self) -> int:
        """What the live slot has to do."""
        app = self.app()
        return int(app["slots"][app["live"]]["in_flight"])


@pytest.fixture(scope="module", params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def course(operation: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """All kinds of traffic at once, and the operation in their middle; what is held ends in its drain."""
    site = TrafficSite(tmp_path_factory.mktemp("traffic"))
    try:
        site.prepare(operation)
        old = site.live_instance()
        traffic = {name: kind(site.port) for name, kind in KINDS.items()}
        held = sum(one.held for one in traffic.values())
        eventually(lambda: site.in_flight() >= held, "everything that is held is in flight")
        failures: dict[str, str] = {}
        ended: dict[str, Any] = {}
        for event in site.operate(operation):
            ended = event
            if (event["event"], event.get("phase")) == ("phase", "drain"):
                site.release.touch()
                finish(traffic, failures, held=True)
        if not site.release.exists():  # it failed, and nothing had to be drained
            site.release.touch()
            finish(traffic, failures, held=True)
        flow(traffic)
        finish(traffic, failures, held=False)
        answered = {name: one.answered_by() for name, one in traffic.items() if name not in failures}
        yield Course(old, site.live_instance(), ended, failures, answered)
    finally:
        site.close()


def flow(traffic: dict[str, Traffic]) -> None:
    """Let requests flow after the operation."""
    for one in traffic.values():
        if isinstance(one, (Requests, OldRequests)):
            one.wait_for(ENOUGH)


def finish(traffic: dict[str, Traffic], failures: dict[str, str], *, held: bool) -> None:
    """Finish what is held, or what is not; and note what went wrong."""
    for name, one in traffic.items():
        if one.held is held:
            try:
                one.finish()
            except (AssertionError, OSError, ValueError) as failure:
                failures[name] = repr(failure)


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails(course: Course, kind: str) -> None:
    assert kind not in course.failures, course.failures[kind]


@pytest.mark.parametrize("kind", ["slow", "chunked upload", "large download", "SSE", "WebSocket"])
def test_what_was_in_flight_is_completed_by_the_version_that_began_it(course: Course, kind: str) -> None:
    assert course.answered_by[kind] == {course.old}


@pytest.mark.parametrize("kind", ["GET", "POST", "HTTP/1.0", "new connections"])
def test_requests_are_answered_by_the_old_version_and_then_by_the_new_one(course: Course, kind: str) -> None:
    assert {course.old, course.new} <= course.answered_by[kind]


def test_nothing_is_cut(course: Course, operation: str) -> None:
    if operation == "failed deploy":
        assert (course.ended["event"], course.new) == ("failed", course.old)
    else:
        assert course.ended["event"] == "succeeded"
        assert course.new != course.old
        assert course.ended["drained"]["cut"] == 0


def test_of_streams_that_outlive_the_drain_exactly_those_are_cut(operation: str, tmp_path: Path) -> None:
    site = TrafficSite(tmp_path)
    try:
        site.prepare(operation, more='[app.shop.drain]\ntimeout = "500ms"\n')
        requests = [
            Requests(site.port),
            Requests(site.port, method="POST"),
            Requests(site.port, keepalive=False),
        ]
        streams: list[Events | Socket] = [Events(site.port), Events(site.port), Socket(site.port)]
        ended = list(site.operate(operation))[-1]
        for one in requests:
            one.wait_for(ENOUGH)
            one.finish()
        if operation == "failed deploy":
            assert ended["event"] == "failed"
            site.release.touch()
            for stream in streams:
                stream.finish()
        else:
            assert ended["drained"]["cut"] == len(streams)
            for stream in streams:
                stream.await_end()
    finally:
        site.close()
