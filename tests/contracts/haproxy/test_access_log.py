"""What HAProxy remembers of the requests that it has answered."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import leaving
from substitute.balancers.haproxy import socket as haproxys_socket
from substitute.core.ports.access_log import CUT, Answered, Answers
from substitute.core.ports.balancer import Preview
from substitute.values import replace
from tests.contracts.balanced_site import A, B, Site
from tests.contracts.haproxies import another_app, balancer, meanwhile
from tests.contracts.haproxy.test_clients import ask
from tests.contracts.strict_client import get, load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest


def recent(site: Site, count: int) -> Sequence[Answered]:
    """What is remembered, once it is so many requests: HAProxy writes a line a moment after the answer."""
    log = balancer(site).access_log("shop")
    eventually(lambda: len(log.recent()) >= count)
    return log.recent()


@contextmanager
def followed(site: Site) -> Iterator[Answers]:
    """Somebody follows who has heard the first request: the worker begins a moment after it was asked to."""

    def heard() -> bool:
        get(site.listen, "/hello")
        return bool(answers.take(0.05))

    with balancer(site).access_log("shop").follow() as answers:
        eventually(heard)
        yield answers


def test_each_request_is_remembered_once_without_what_is_the_clients(site: Site) -> None:
    site.route(100, 0)
    get(
        site.listen,
        "/status/404/?token=geheim",
        Host="shop.example.com",
        Cookie="session=geheim; substitute=abc",
    )
    get(site.listen, "/status/500", X_Forwarded_For="192.0.2.7", X_Forwarded_Proto="https")
    get(site.listen, "/echo", "POST", X_Forwarded_For="192.0.2.7, 10.0.0.1")
    site.route(0, 100)
    get(site.listen, "/", Cookie="substitute=abc")
    first, second, third, last = recent(site, 4)
    assert (first.app, first.slot, first.method) == ("shop", A, "GET")
    assert (first.path, first.status) == ("/status/404/", 404)
    assert (first.host, first.scheme, first.failed) == ("shop.example.com", "http", False)
    assert (second.status, second.failed, second.broken, second.scheme) == (500, True, False, "https")
    assert (third.method, third.path, last.slot) == ("POST", "/echo", B)
    assert first.client == last.client
    assert len({first.client, second.client, third.client}) == 3
    said = repr([first, second, third, last])
    assert not [secret for secret in ("geheim", "abc", "192.0.2.7") if secret in said]
    assert first.at <= second.at <= last.at


def test_who_names_the_version_is_told_from_whom_chance_has_sent(site: Site) -> None:
    shared = replace(site.shop(50, 50), candidate=B, preview=Preview("0123456789abcdef", B))
    site.balancer.route([shared])
    get(site.listen, "/chance")
    get(site.listen, "/client", Cookie="substitute=abc")
    get(site.listen, "/new", X_Substitute_Canary="yes")
    get(site.listen, "/live", X_Substitute_Canary="No", Cookie="substitute=abc")
    get(site.listen, "/neither", X_Substitute_Canary="perhaps")
    get(site.listen, "/preview", Cookie="substitute-preview=0123456789abcdef")
    get(site.listen, "/over", X_Substitute_Preview="fedcba9876543210")
    lines = recent(site, 7)
    assert {one.path: one.slot for one in lines if one.chosen} == {"/new": B, "/live": A, "/preview": B}
    assert {one.path for one in lines if one.new} == {"/chance", "/neither", "/over"}


def test_a_client_has_the_name_of_its_cookie_from_the_request_on_that_gave_it(site: Site) -> None:
    site.route(50, 50)
    cookie = ask(site.listen)[2].partition(";")[0]
    get(site.listen, "/back", Cookie=cookie)
    first, back = recent(site, 2)
    assert (first.new, back.new) == (True, False)
    assert first.client == back.client


def test_an_answer_that_the_instance_broke_off_is_told_from_a_client_that_left(site: Site) -> None:
    site.route(100, 0)
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
    get(site.endpoints[A], "/release")
    (left,) = recent(site, 1)
    assert not left.failed
    site.route(0, 100)
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
        site.kill("b0")
        broken = recent(site, 2)[1]
    assert (broken.slot, broken.status, broken.broken, broken.failed) == (B, 200, True, True)


def test_a_request_that_is_sent_once_more_counts_once_with_the_instance_that_answered(site: Site) -> None:
    site.route(100, 0)
    with meanwhile(partial(get, site.listen, "/sleep/0.3")):
        eventually(lambda: site.traffic(A).in_flight == 1)
        site.kill("a0")
        site.start("a0", site.endpoints[A])
    get(site.listen, "/last")
    again, last = recent(site, 2)
    assert (again.path, again.slot, again.status, last.path) == ("/sleep/0.3", A, 200, "/last")


def test_whoever_follows_hears_of_each_request_once_whatever_is_reloaded_and_holds_no_old_worker(
    site: Site,
) -> None:
    site.route(100, 0)
    with followed(site) as answers:
        heard: list[Answered] = []

        def hears(*paths: str) -> bool:
            heard.extend(one for one in answers.take(0.05) if one.path != "/hello")
            return Counter(one.path for one in heard) == Counter(paths)

        get(site.listen, "/first")
        with meanwhile(partial(get, site.listen, "/wait")):
            eventually(lambda: site.traffic(A).in_flight == 1)
            site.balancer.route([site.shop(0, 100), another_app()])
            get(site.listen, "/second")
            eventually(lambda: hears("/first", "/second"))
            get(site.endpoints[A], "/release")
        eventually(lambda: hears("/first", "/second", "/wait"))
        eventually(lambda: hears("/first", "/second", "/wait") and not leaving.all_of(site.run_directory))
        assert [one.slot for one in heard] == [A, B, A]
    assert balancer(site).access_log("shop").recent()[-1].path == "/second"


def test_nothing_is_lost_under_load_while_somebody_follows_and_reloads(site: Site) -> None:
    site.route(50, 50)
    with followed(site) as answers:
        heard: list[Answered] = []

        def hears() -> int:
            heard.extend(one for one in answers.take(0.05) if one.path != "/hello")
            return len(heard)

        with load(site.listen) as running:
            site.balancer.route([site.shop(50, 50), another_app()])
            running.wait_for_more()
        asked = sum(running.answers.values())
        eventually(lambda: hears() >= asked)
    assert running.failures == []
    assert {one.slot for one in heard} == {A, B}


def test_what_is_hostile_stays_in_its_field(site: Site) -> None:
    site.route(100, 0)
    for path, host in (
        (b"/a\\b\"c;d|e{f}'`#x", b'a b|c}{ "x" GET /other'),
        (b"/%20%0A%22%C3%A4/" + b"x" * 3000, b"h" * 3000),
        (b"//evil.example/x", b"x"),
    ):
        with socket.create_connection((site.listen.host, site.listen.port)) as client:
            client.sendall(b"GET %s?q HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, host))
            assert client.recv(1000).startswith(b"HTTP/1.1 ")
    found = {one.path: one for one in recent(site, 2)}
    assert "//evil.example/x" in found
    (long,) = (path for path in found if path.startswith("/%20%0A%22%C3%A4/xxxx"))
    assert long.endswith(CUT)
    assert found[long].host.endswith(CUT)
    if len(found) > 2:  # 2.8 answers such a request itself
        assert found["/a\\b\"c;d|e{f}'`"].host.startswith('a b|c}{ "x" GET /other'[:5])


def test_one_that_has_just_been_started_or_does_not_run_remembers_nothing(site: Site) -> None:
    assert balancer(site).access_log("shop").recent() == []
    site.route(100, 0)
    assert balancer(site).access_log("shop").recent() == []


def test_what_a_worker_remembers_from_before_is_not_heard_once_it_has_closed_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy may do so when nothing was said for ten seconds. Its memory is of the version before."""
    opened: list[socket.socket] = []
    line = haproxys_socket.line

    def noted(run: Path, command: str, patience: float) -> socket.socket:
        opened.append(line(run, command, patience))
        return opened[-1]

    site.route(100, 0)
    get(site.listen, "/status/500")
    recent(site, 1)
    monkeypatch.setattr(haproxys_socket, "line", noted)
    with balancer(site).access_log("shop").follow() as answers:
        opened[0].shutdown(socket.SHUT_RD)
        heard = [*answers.take(0.5), *answers.take(0.5)]
        assert (heard, len(opened)) == ([], 2)

        def hears() -> bool:
            get(site.listen, "/hello")
            heard.extend(answers.take(0.05))
            return bool(heard)

        eventually(hears)
        assert {one.path for one in heard} == {"/hello"}
