"""Requests of an app that wait in HAProxy for a version that runs."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy import socket as api
from substitute.http import exchange
from substitute.http.failures import FailedError
from tests.contracts.balanced_site import A, B, Site, other_app
from tests.contracts.haproxies import restart
from tests.contracts.strict_client import load
from tests.waiting import eventually

if TYPE_CHECKING:
    from substitute.core.ports.balancer import Backend

MANY = 3000


def lonely(site: Site, a: int, b: int, *, waits: bool = False, hold: float = 30.0) -> Backend:
    """The app with these shares; no two versions of it may run at once."""
    return replace(site.shop(a, b), hold=hold, waits=waits)


def waiting(site: Site) -> int:
    """How many requests wait, as HAProxy counts them."""
    rows = api.ask(site.run_directory, api.WORKER, "show stat -1 2 -1").splitlines()
    return sum(int(row.split(",")[4]) for row in rows if row.startswith("app_shop,BACKEND,"))


class Asked:
    """A request that is sent, and whose answer is read by a thread of its own."""

    def __init__(self, site: Site, method: str = "GET", body: bytes = b"", *, host: str = "shop") -> None:
        path = "/echo" if method == "POST" else "/"
        headers = [("Host", host), ("Content-Length", str(len(body)))]
        self._request = exchange.request(method, path, headers, body)
        self.connection = exchange.connect(f"http://{site.listen}/", 60.0)
        self.reply: exchange.Reply | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with self.connection, suppress(OSError, FailedError):  # it may be the one that goes away
            self.reply = exchange.ask(self.connection, self._request, 60.0)

    def answer(self) -> tuple[int, bytes]:
        self._thread.join()
        assert self.reply
        return self.reply.head.status, self.reply.body


def test_they_wait_until_a_slot_has_a_share_and_none_comes_before(site: Site) -> None:
    site.balancer.route([lonely(site, 100, 0)])
    with load(site.listen) as running:
        running.wait_for_more()
        site.balancer.route([lonely(site, 0, 0, waits=True)])
        site.drained(A)
        site.stop("a0")
        eventually(lambda: waiting(site) == 8, "all clients wait")
        before = site.requests(B)
        body = b"x" * (1 << 20)
        upload = Asked(site, "POST", body)
        eventually(lambda: waiting(site) == 9, "so does an upload")
        assert site.requests(B) == before, "it listens, but is not proven"
        site.balancer.route([lonely(site, 0, 100)])
        running.wait_for_more()
        assert upload.answer() == (200, body)
    assert running.failures == []


def test_one_that_has_waited_for_too_long_gets_a_page_that_says_when_to_come_back(site: Site) -> None:
    site.balancer.route([lonely(site, 100, 0, hold=0.4)])
    site.balancer.route([lonely(site, 0, 0, hold=0.4, waits=True)])
    asked = Asked(site, "POST", b"x")
    status, page = asked.answer()
    assert status == 503
    assert b"not available now" in page
    assert asked.reply
    assert asked.reply.head.headers["retry-after"] == "5"


def test_where_nobody_shall_serve_none_waits(site: Site) -> None:
    site.balancer.route([lonely(site, 100, 0)])
    site.balancer.route([lonely(site, 0, 0)])
    assert Asked(site).answer()[0] == 503


def test_they_go_on_waiting_where_it_is_restarted_and_other_apps_are_served(site: Site) -> None:
    other = other_app(site.endpoints[A])
    site.balancer.route([lonely(site, 0, 100), other])
    site.balancer.route([lonely(site, 0, 0, waits=True), other])
    restart(site)
    asked = Asked(site)
    eventually(lambda: waiting(site) == 1)
    assert Asked(site, host="blog.example.com").answer() == (200, b"a0")
    site.balancer.route([lonely(site, 0, 100), other])
    assert asked.answer() == (200, b"b0")


def test_a_client_that_goes_away_keeps_nobody_else_from_waiting(site: Site) -> None:
    site.balancer.route([lonely(site, 100, 0)])
    site.balancer.route([lonely(site, 0, 0, waits=True)])
    asked = [Asked(site, method, b"x" if method == "POST" else b"") for method in ("GET", "POST") * 20]
    eventually(lambda: waiting(site) == len(asked))
    for one in asked[::2]:
        one.connection.shutdown(socket.SHUT_RDWR)
    site.balancer.route([lonely(site, 0, 100)])
    assert {one.answer()[0] for one in asked[1::2]} == {200}


@pytest.mark.long
def test_thousands_wait(site: Site) -> None:
    site.balancer.route([lonely(site, 100, 0)])
    site.balancer.route([lonely(site, 0, 0, waits=True)])
    asked = [Asked(site, "POST" if at % 2 else "GET", b"x" * (at % 2)) for at in range(MANY)]
    eventually(lambda: waiting(site) == len(asked))
    site.balancer.route([lonely(site, 0, 100)])
    assert {one.answer()[0] for one in asked} == {200}
