"""Requests that no client sends, by the real generator: what they carry, and what is told where they show nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.drill.process import LoadProcess
from substitute.drill.synthetic import Synthetic
from tests.unit.misbehaving import OK, Peer, Server
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.drill.load import Load
    from substitute.drill.result.recording import Recording

MOVED = b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LoadProcess, Recording]]:
    """The processes that were begun."""
    begun: list[tuple[LoadProcess, Recording]] = []

    def noted(load: Load, recording: Recording, *, directory: Path) -> LoadProcess:
        begun.append((LoadProcess(load, recording, directory=directory), recording))
        return begun[-1][0]

    monkeypatch.setattr("substitute.drill.synthetic.LoadProcess", noted)
    return begun


def redirecting(peer: Peer) -> None:
    """As an app does that wants https."""
    while asked := peer.request():
        peer.send(OK if b"X-Forwarded-Proto: https" in asked else MOVED)


def told(
    server: str, headers: dict[str, str], tmp_path: Path, flows: list[tuple[LoadProcess, Recording]]
) -> list[str]:
    """What is told at the end of some requests for two pages."""
    said: list[str] = []
    with Synthetic().flowing(
        server, headers=headers, paths=["/", "/search"], rate=100, directory=tmp_path, tell=said.append
    ):
        eventually(lambda: all(process.lost or recording.statuses for process, recording in flows))
    return said


def test_the_headers_are_sent_and_good_answers_are_nothing_to_tell(
    tmp_path: Path, flows: list[tuple[LoadProcess, Recording]]
) -> None:
    with Server(redirecting) as server:
        front = server.url.removeprefix("http://")
        assert told(front, {"Host": "shop", "X-Forwarded-Proto": "https"}, tmp_path, flows) == []


def test_where_every_answer_is_a_redirect_it_is_told_once(
    tmp_path: Path, flows: list[tuple[LoadProcess, Recording]]
) -> None:
    with Server(redirecting) as server:
        (said,) = told(server.url.removeprefix("http://"), {"Host": "shop"}, tmp_path, flows)
    first, second = said.split("; ")
    assert "GETs of / was answered with 2xx, but with 301" in first
    assert "GETs of /search was answered with 2xx, but with 301" in second


def test_a_process_that_ended_is_told(tmp_path: Path, flows: list[tuple[LoadProcess, Recording]]) -> None:
    (said,) = told("no-such-host.invalid:80", {}, tmp_path, flows)
    assert f"the process that asks for / has ended (see {tmp_path / 'drill.log'})" in said
