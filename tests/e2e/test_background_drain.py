"""A deployment that does not wait for the requests of the version before, and one that cuts them."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.e2e.runtimes import BOTH, SYSTEMD_IN_LONG
from tests.e2e.site import Site, fetch
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from pathlib import Path


@pytest.fixture(params=BOTH)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = request.param
    made.configure(
        more='[app.shop.drain]\ntimeout = "5m"\nbackground = true\n[app.shop.stop]\ntimeout = "1s"\n'
    )
    made.run("deploy")
    yield made
    made.close()


@pytest.fixture
def streaming(site: Site) -> Iterator[HTTPResponse]:
    """A stream of version 1 that a deployment of version 2 has left behind."""
    site.repository.commit("2")
    with urllib.request.urlopen(f"{site.url}stream?600", timeout=60) as stream:
        assert stream.readline() == b"data: version 1\n"
        ended = site.events("deploy")[-1]
        assert (ended["event"], ended["drained"]["handed_over"]) == ("succeeded", True)
        assert fetch(site.url) == "version 2\n"
        assert site.app()["slots"]["a"]["state"] == "draining"
        yield stream


def test_what_it_leaves_is_finished_and_stopped_behind_it(site: Site, streaming: HTTPResponse) -> None:
    assert streaming.readline() in {b"\n", b"data: version 1\n"}
    streaming.close()
    eventually(lambda: site.app()["slots"]["a"]["state"] == "idle", "its last request has ended")
    site.assert_only_serves("b")


@SYSTEMD_IN_LONG
def test_a_deployment_that_cannot_wait_cuts_it(site: Site, streaming: HTTPResponse) -> None:
    site.repository.commit("3")
    site.run("deploy", "--now")
    assert fetch(site.url) == "version 3\n"
    while streaming.readline():
        pass
    eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "nothing else drains for long")
    guardian = (
        (site.root / "deploy" / "run" / "guardian.log").read_text() if site.runtime != "systemd" else ""
    )
    assert not guardian or "with 1 request in flight: --now was typed" in guardian


@SYSTEMD_IN_LONG
def test_a_deployment_that_waits_says_for_whom_and_cuts_nothing(site: Site, streaming: HTTPResponse) -> None:
    site.repository.commit("3")
    with site.popen("deploy", "--wait", "10s", "--json") as waiting:
        assert waiting.stdout
        told = json.loads(waiting.stdout.readline())
        assert "Waiting, for at most 60s, for `recovery`" in told["message"]
        assert "Slot a still finishes 1 request, for at most 300s in all (drain.timeout)." in told["message"]
        assert "`deploy --now` cuts them" in told["message"]
        waiting.kill()
    assert streaming.readline() in {b"\n", b"data: version 1\n"}
    assert site.app()["slots"]["a"]["state"] == "draining"
