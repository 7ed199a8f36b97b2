"""WebSockets and event streams of the version that leaves are ended in waves; a download beside them is not."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site, fetch
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")

APP = Path(__file__).with_name("streams.js")
UPGRADE = "Connection: Upgrade\r\nUpgrade: echo\r\n"
WAVES = '[app.shop.drain]\ntimeout = "5m"\nstreams = { after = "100ms", over = "500ms" }\n'
KINDS = {"/socket": UPGRADE, "/events": ""}
EACH = 6


IN_BACKGROUND = pytest.param(
    "in the background", marks=pytest.mark.long
)  # the deployer that is killed is as good


@pytest.fixture(
    params=["waited for", pytest.param("the deployer is killed", marks=pytest.mark.slow), IN_BACKGROUND]
)
def manner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(site: Site, manner: str) -> Site:
    site.repository.commit("1", app=APP.read_text())
    background = "background = true\n" if manner == "in the background" else ""
    site.configure(more=WAVES + background, start="node app.py")
    site.run("deploy")
    return site


def opened(site: Site, path: str) -> socket.socket:
    """A stream that has begun."""
    stream = socket.create_connection(("127.0.0.1", site.port), timeout=60)
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{KINDS[path]}\r\n".encode())
    assert stream.recv(1000).split()[1] in {b"101", b"200"}
    return stream


@pytest.fixture
def streams(site: Site) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(opened(site, path)) for path in KINDS for _ in range(EACH)]


@pytest.fixture
def download(site: Site) -> Iterator[HTTPResponse]:
    with urllib.request.urlopen(f"{site.url}download", timeout=60) as answer:
        assert answer.readline() == b"more\n"
        yield answer


def test_streams_end_in_good_order_while_a_download_goes_on_to_its_end(
    site: Site, manner: str, streams: list[socket.socket], download: HTTPResponse
) -> None:
    site.repository.commit("2", app=APP.read_text())
    with site.popen("deploy", "--json") as deployment:
        for number, stream in enumerate(streams):
            while stream.recv(10000):  # a reset would be an exception
                pass
            if number == 0 and manner == "the deployer is killed":
                deployment.kill()
        assert fetch(site.url) == "version 2\n"
        with opened(site, "/socket") as again:
            again.sendall(b"hello\n")
            assert again.recv(100) == b"2 hello\n"
        assert download.readline() == b"more\n"
        (site.root / "finish").touch()
        assert download.read().endswith(b"more\nthe end\n")
        told, _ = deployment.communicate(timeout=60)
    eventually(lambda: site.app()["slots"]["a"]["state"] == "idle", "its last request has ended")
    if manner == "waited for":
        drained = json.loads(told.splitlines()[-1])["drained"]
        assert (drained["streams"], drained["finished"], drained["cut"]) == (2 * EACH, 1, 0)
    site.assert_only_serves("b")
