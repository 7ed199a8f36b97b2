"""The load client of the demonstration, which tests and benchmarks use too: it forgives as little as the drill."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load, Report
from substitute.http.failures import Kind
from tests.unit.misbehaving import OK, Peer, Server, forever
from tests.unit.test_drill_client import MISBEHAVIOURS

if TYPE_CHECKING:
    from typing import Any

KINDS = {
    Kind.RESET: "reset",
    Kind.CLOSED: "closed",
    Kind.TIMEOUT: "timeout",
    Kind.SERVER_ERROR: "status",
    Kind.CLIENT_ERROR: "status",
    Kind.BODY: "body",
}


def loaded(url: str, *, requests: int = 1, **more: Any) -> Report:
    with Load(url, connections=1, **more) as load:
        load.wait_for(requests)
        return load.stop()


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_every_misbehaviour_is_a_failure_and_none_is_asked_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave, kind = MISBEHAVIOURS[name]
    monkeypatch.setattr("substitute.demo.load._TIMEOUT", 0.3 if kind is Kind.TIMEOUT else 20.0)
    with Server(behave) as server:
        report = loaded(server.url)
        asked = len(server.requests)
    assert {failure.kind for failure in report.failures} == {KINDS[kind]}
    assert len(report.failures) == report.requests
    assert report.latencies == []
    if name not in {"silence", "half a body, then silence"}:
        assert asked == report.requests


def test_whole_answers_are_counted_by_version_on_one_connection() -> None:
    with Server(forever()) as server:
        report = loaded(server.url, requests=20)
    assert report.failures == []
    assert report.versions == {"1": report.requests}
    assert len(report.latencies) == report.requests >= 20


def test_a_post_must_come_back_to_the_letter() -> None:
    def echo(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(peer.body), peer.body))

    with Server(echo) as server:
        assert loaded(server.url, method="POST").failures == []
    with Server(forever()) as server:
        failures = loaded(server.url, method="POST").failures
    assert {(failure.kind, failure.detail) for failure in failures} == {("body", "b'ok'")}


@pytest.mark.parametrize(
    "said", [b"Connection: close\r\nContent-Length: 2\r\n", b""], ids=["says so", "no length"]
)
def test_a_connection_that_the_answer_ends_is_not_asked_again(said: bytes) -> None:
    def once(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + said + b"\r\nok")

    with Server(once) as server:
        report = loaded(server.url, requests=3)
    assert report.failures == []


def test_a_kept_connection_that_is_closed_is_a_failure() -> None:
    def twice(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.send(OK)

    with Server(twice) as server:
        report = loaded(server.url, requests=3)
    assert {failure.kind for failure in report.failures} <= {"closed", "reset"}
    assert report.failures


def test_nobody_there_is_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    failures = loaded(f"http://127.0.0.1:{port}/").failures
    assert {failure.kind for failure in failures} == {"refused"}
    assert "Connection refused" in failures[0].detail
