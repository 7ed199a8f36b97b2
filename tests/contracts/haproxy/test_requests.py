"""What becomes of requests when an app crashes, leaves, or closes connections."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy import balancer as adapter
from substitute.balancers.haproxy import sections
from substitute.balancers.haproxy.names import PREVIEW_HEADER
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Preview, Server
from tests.contracts.balanced_site import A, B, Site
from tests.contracts.haproxies import balancer, clients, meanwhile
from tests.contracts.strict_client import accepts, get, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_new_request_waits_for_a_crashed_instance_that_comes_back(site: Site) -> None:
    site.route(100, 0)
    site.stop("a0")
    answers: list[tuple[int, str]] = []
    with meanwhile(lambda: answers.append(get(site.listen))):
        eventually(lambda: clients(site) == 1)
        site.start("a0", site.endpoints[A])
    assert answers == [(200, "a0")]


def test_at_saturation_an_instance_that_is_killed_fails_no_get_and_only_the_posts_it_had(site: Site) -> None:
    site.route(100, 0)
    with (
        load(site.listen, clients=16, methods=("GET",)) as gets,
        load(site.listen, clients=4, methods=("POST",)) as posts,
    ):
        for _ in range(3):
            site.kill("a0")
            site.start("a0", site.endpoints[A])
            gets.wait_for_more(200)
            posts.wait_for_more(20)
            eventually(lambda: not clients(site, "pause"))  # what meets two crashes is not sent a third time
    assert gets.failures == []
    # One each, and another for whoever asked again while the dying process still had its listening socket.
    assert len(posts.failures) <= 3 * 2 * 4
    assert not any("503" in failure for failure in posts.failures)


def test_while_both_have_a_share_an_instance_that_is_killed_fails_no_get_that_it_had(site: Site) -> None:
    site.route(50, 50)
    answers: list[tuple[int, bytes, int]] = []

    def ask() -> None:
        with closing(http.client.HTTPConnection(site.listen.host, site.listen.port, timeout=60)) as client:
            client.request("GET", "/wait")
            answer = client.getresponse()
            answers.append((answer.status, answer.read(), len(answer.headers.get_all("Set-Cookie", ()))))

    with ExitStack() as waiting:
        for _ in range(16):  # each of these clients is new, and drawn by chance
            waiting.enter_context(meanwhile(ask))
        eventually(lambda: sum(site.traffic(slot).in_flight or 0 for slot in (A, B)) == 16)
        assert site.traffic(B).in_flight
        site.kill("b0")
        eventually(lambda: site.traffic(A).in_flight == 16)
        assert get(site.listen, "/release") == (200, "a0")
    assert answers == [(200, b"a0", 1)] * 16  # who is asked twice has one name


@pytest.mark.parametrize(
    ("shares", "preview"),
    [({A: 100}, None), ({A: 50, B: 50}, None), ({A: 100, B: 0}, Preview("token", B))],
    ids=["one version", "two versions", "a preview"],
)
def test_what_gets_no_answer_is_sent_once_more_where_that_changes_nothing(
    site: Site, shares: dict[SlotName, int], preview: Preview | None
) -> None:
    sized, chunked = "Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    cases = {
        **{(method, "\r\n"): 2 for method in ("GET", "HEAD", "OPTIONS")},
        ("GET", "Content-Length: 0\r\n\r\n"): 2,
        **{(method, sized): 1 for method in ("POST", "PUT", "PATCH", "GET")},
        ("DELETE", "\r\n"): 1,
        ("GET", chunked): 1,
        ("GET", "Connection: Upgrade\r\nUpgrade: other\r\n\r\n"): 1,
    }
    with abrupt_app() as (endpoint, came):
        servers = tuple(Server(slot, endpoint, share) for slot, share in shares.items())
        site.balancer.route([Backend("abrupt", (), servers, preview=preview)])
        asked = f"{PREVIEW_HEADER}: {preview.token}\r\n" if preview else ""
        for (method, sent), times in cases.items():
            came.clear()
            with socket.create_connection((site.listen.host, site.listen.port)) as client:
                client.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n{asked}{sent}".encode())
                assert client.recv(1000).startswith(b"HTTP/1.1 502 ")
            assert came == [method] * times, sent


@contextmanager
def abrupt_app() -> Iterator[tuple[Endpoint, list[str]]]:
    """It closes each connection when a request has come, without an answer; and the methods that came."""
    came: list[str] = []

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                if said := client.recv(1000):
                    came.append(said.split()[0].decode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield Endpoint("127.0.0.1", listener.getsockname()[1]), came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def test_gets_share_a_few_connections_to_the_app_and_each_post_has_its_own(site: Site) -> None:
    site.route(100, 0)
    assert opened_for(site, "GET") < 0.2
    assert opened_for(site, "POST") == 1


def test_where_no_connection_is_to_be_kept_each_get_has_its_own_and_is_still_sent_again(site: Site) -> None:
    settings = replace(balancer(site)._settings, keep_connections=False)
    site.balancer = adapter.HAProxy(site.run_directory, site.runtime, settings)
    site.route(100, 0)
    assert opened_for(site, "GET") == 1
    with load(site.listen, methods=("GET",)) as running:
        site.kill("a0")
        site.start("a0", site.endpoints[A])
        running.wait_for_more(300)
    assert running.failures == []


def test_the_endpoints_of_a_slot_share_its_requests_on_kept_connections(site: Site) -> None:
    more = {slot: Endpoint("127.0.0.1", free_port()) for slot in (A, B)}
    for slot, endpoint in more.items():
        site.start(f"{slot}1", endpoint)

    def route(a: int, b: int) -> None:
        shares = {A: a, B: b}
        servers = (Server(slot, by[slot], shares[slot]) for slot in (A, B) for by in (site.endpoints, more))
        site.balancer.route([Backend("shop", (), tuple(servers))])

    def opened(slot: SlotName) -> float:
        known = [site.observed()[by[slot]] for by in (site.endpoints, more)]
        return sum(one.opened or 0 for one in known) / sum(one.requests or 0 for one in known)

    route(90, 10)
    # Each of these clients is new, and drawn by chance: six standard deviations from 30.
    assert 1 <= [get(site.listen)[1][0] for _ in range(300)].count("b") <= 61
    route(100, 0)
    with load(site.listen, methods=("GET",)) as running:
        running.wait_for_more(300)
        assert opened(A) < 0.5  # the first ones had none to share
        site.kill("a1")  # what it had goes to the other one
        running.wait_for_more(100)
        site.start("a1", more[A])
        route(0, 100)
        site.drained(A)
        eventually(lambda: not site.observed()[more[A]].in_flight)
        for name in ("a0", "a1"):
            site.stop(name)
        running.wait_for_more(300)
        assert opened(B) < 0.2
    assert running.failures == []
    assert all(running.answers[name] > 50 for name in ("a0", "a1", "b0", "b1"))


def opened_for(site: Site, method: str) -> float:
    """Connections to the app for each such request."""
    before, requests = site.traffic(A).opened or 0, site.requests(A)
    with load(site.listen, methods=(method,)) as running:
        running.wait_for_more(300)
    assert running.failures == []
    return ((site.traffic(A).opened or 0) - before) / (site.requests(A) - requests)


NODE = """
require('http').createServer((request, response) => { request.resume(); response.end('ok') })
  .listen(+process.argv[1], '127.0.0.1')
"""


WSGI = """
def app(environ, start):
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""


PAUSES = {"node": 5.0, "gunicorn": 2.0, "uvicorn": 5.0}
"""Seconds after which each closes an idle connection, by default; gunicorn with threads."""


@pytest.mark.parametrize(
    "server",
    [pytest.param(one, marks=pytest.mark.long if one == "uvicorn" else pytest.mark.slow) for one in PAUSES],
)
def test_at_the_very_pause_of_an_apps_keep_alive_no_request_is_lost(
    site: Site, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy would have closed the connections before: here it would not."""
    monkeypatch.setattr(sections, "_PURGE_MS", 3_600_000)
    there = Endpoint("127.0.0.1", free_port())
    (tmp_path / "wsgi.py").write_text(WSGI)
    (tmp_path / "asgi.py").write_text(ASGI)
    if server == "uvicorn":
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path), "uvicorn"]
        subprocess.run(install, check=True)
    python = [sys.executable, "-m"]
    commands = {
        "node": ["node", "-e", NODE, str(there.port)],
        "gunicorn": [
            *python,
            "gunicorn",
            "--worker-class=gthread",
            "--threads=64",
            "-b",
            str(there),
            "wsgi:app",
        ],
        "uvicorn": [*python, "uvicorn", "--log-level=error", f"--port={there.port}", "asgi:app"],
    }
    answers: list[int] = []

    def pausing(number: int) -> None:
        connection = http.client.HTTPConnection(site.listen.host, site.listen.port, timeout=60)
        for _ in range(3):
            connection.request(*(("GET", "/"), ("POST", "/", b"x"))[number % 2])
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
            time.sleep(PAUSES[server] + (number - 32) / 4000)  # all around the moment of the close
        connection.close()

    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(commands[server], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as app:
        try:
            eventually(lambda: accepts(there))
            site.balancer.route([Backend("pausing", (), (Server(A, there, 100),))])
            with ExitStack() as stack:
                for number in range(64):
                    stack.enter_context(meanwhile(partial(pausing, number)))
        finally:
            app.terminate()
    assert answers == [200] * 64 * 3


def test_no_idle_connection_keeps_an_instance_from_leaving(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy would close them by itself within a second: here it would not."""
    monkeypatch.setattr(sections, "_PURGE_MS", 3_600_000)
    monkeypatch.setenv("WAITS", "for its clients")
    site.stop("a0")
    site.start("a0", site.endpoints[A])
    site.route(100, 0)
    with load(site.listen) as running:
        eventually(lambda: site.traffic(A).open)
        site.route(0, 100)
        site.drained(A)
        site.drained(A)
        site.stop("a0")
        running.wait_for_more()
    assert running.failures == []


def test_while_both_have_a_share_requests_for_a_crashed_one_go_to_the_other(site: Site) -> None:
    site.route(50, 50)
    site.stop("b0")
    assert {get(site.listen) for _ in range(4)} == {(200, "a0")}


def test_an_app_that_closes_idle_connections_loses_no_post(site: Site) -> None:
    with hasty_app() as endpoint:
        site.balancer.route([Backend("hasty", (), (Server(A, endpoint, 100),))])
        with load(site.listen) as running:
            running.wait_for_more(300)
    assert running.failures == []


@contextmanager
def hasty_app() -> Iterator[Endpoint]:
    """It answers one request of a connection and closes it, without saying that it will."""

    def serve(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            length = 0
            for line in iter(lines.readline, b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                if not line.strip():
                    body = lines.read(length)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, body))
                    return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(client,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()
