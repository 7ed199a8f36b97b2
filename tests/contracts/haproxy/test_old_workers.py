"""Workers that a reload has replaced, and their clients."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from substitute.balancers.haproxy import leaving
from substitute.balancers.haproxy import program as haproxy_program
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.configuration import render
from substitute.balancers.haproxy.names import DRILL_HEADER, MAP, SLOT_HEADER
from tests.contracts import haproxies
from tests.contracts.balanced_site import A, B, Kind, Site, other_app, site_in
from tests.contracts.haproxies import another_app, ask, balancer, clients, meanwhile, path
from tests.contracts.strict_client import conversation, get, load
from tests.waiting import eventually

EARLIER = Path(__file__).with_name("one_backend.cfg")
"""The file of a substitute whose HAProxy kept no connection to an app."""


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

    def is_earlier_alone() -> bool:
        """While two workers are there, either may answer."""
        with suppress(api.Silent):
            _, left = leaving.workers(site.run_directory)
            return not left and api.description(site.run_directory).startswith("earlier-")
        return False

    eventually(is_earlier_alone)
    assert (
        site.balancer.pending([site.shop(100, 0)])
        == "[balancer] or assets changed, or substitute was upgraded."
    )
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
        assert site.balancer.pending(shop) == "[balancer] or assets changed, or substitute was upgraded."
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


def test_a_worker_that_leaves_hands_on_that_a_drill_asks(site: Site) -> None:
    site.route(100, 0)
    request = f"GET / HTTP/1.1\r\nHost: shop.example.com\r\n{DRILL_HEADER}: 1\r\n\r\n".encode()
    with socket.create_connection((site.listen.host, site.listen.port)) as kept:
        assert ask(kept).endswith("a0")
        site.balancer.route([site.shop(0, 100), another_app()])
        kept.sendall(request)
        assert f"{SLOT_HEADER}: b".lower() in kept.recv(5000).decode().lower()


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
