"""What every balancer promises, on the real program: the suite that a new adapter joins by one line of `BALANCERS`."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from substitute.core.errors import BalancerError
from substitute.core.slots import Endpoint
from tests.contracts import haproxies
from tests.contracts.balanced_site import A, B, Make, Site, other_app, site_in
from tests.contracts.strict_client import conversation, free_port, get, load, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BALANCERS: dict[str, Make] = {
    **haproxies.versions(),
}


@pytest.fixture(params=BALANCERS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path, BALANCERS[request.param]) as made:
        yield made


def names(site: Site, count: int = 20) -> set[str]:
    return {get(site.listen)[1] for _ in range(count)}


def test_every_new_request_obeys_when_route_returns(site: Site) -> None:
    site.start_both()
    for _ in range(5):
        site.route(100, 0)
        assert names(site) == {"a0"}
        site.route(50, 50)
        assert names(site) == {"a0", "b0"}
        site.route(0, 100)
        assert names(site) == {"b0"}


def test_shares_are_kept_in_proportion(site: Site) -> None:
    site.start_both()
    site.route(90, 10)
    assert [get(site.listen)[1] for _ in range(100)].count("b0") == 10


def test_the_balancer_says_which_share_is_in_force(site: Site) -> None:
    site.route(30, 70)
    assert (site.traffic(A).share, site.traffic(B).share) == (30, 70)
    site.route(100, 0)
    assert (site.traffic(A).share, site.traffic(B).share) == (100, 0)


def test_the_same_routes_again_change_nothing(site: Site) -> None:
    site.start_both()
    site.route(0, 100)
    running = site.runtime.inspect("haproxy").process
    requests = len(names(site))
    for _ in range(3):
        site.route(0, 100)
    assert site.runtime.inspect("haproxy").process == running
    assert site.traffic(B).requests >= requests


def test_thirty_switches_at_saturation_fail_no_request(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    with load(site.listen) as running:
        for turn in range(30):
            live, old = ((B, A), (A, B))[turn % 2]
            site.route(100, 100)
            site.route(*((0, 100) if live is B else (100, 0)))
            site.drained(old)
            running.wait_for_more(20)
    assert running.failures == []
    assert running.answers["a0"]
    assert running.answers["b0"]


def test_the_old_instance_may_be_stopped_once_it_has_no_request_in_flight(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    with load(site.listen) as running:
        for turn in range(10):
            live, old = ((B, A), (A, B))[turn % 2]
            site.route(*((0, 100) if live is B else (100, 0)))
            site.drained(old)
            site.stop(f"{old}0")
            running.wait_for_more(20)
            site.start(f"{old}0", site.endpoints[old])
    assert running.failures == []


def test_a_request_in_flight_is_seen_and_finishes_after_its_share_is_gone(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(get(site.listen, "/wait")))
    slow.start()
    until(lambda: site.traffic(A).in_flight == 1)
    site.route(0, 100)
    assert site.traffic(A).in_flight == 1
    assert names(site) == {"b0"}
    get(site.endpoints[A], "/release")
    slow.join()
    assert answers == [(200, "a0")]
    site.drained(A)


def test_a_long_connection_continues_across_a_switch(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    with conversation(site.listen) as say:
        assert say("one") == "a0 one"
        site.route(0, 100)
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight == 1
        assert names(site) == {"b0"}
    site.drained(A)


def test_a_client_that_only_keeps_its_connection_is_not_in_flight(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
        site.drained(A)
        site.route(0, 100)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).endswith(b"b0")


def test_requests_and_failures_of_each_instance_are_counted(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    before = site.traffic(A)
    assert get(site.listen, "/status/500")[0] == 500
    get(site.listen)
    after = site.traffic(A)
    assert (after.requests - before.requests, after.failures - before.failures) == (2, 1)
    assert site.traffic(B).requests == 0


def test_apps_are_told_apart_by_the_host_header_whatever_its_case_and_port(site: Site) -> None:
    site.start_both()
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    site.balancer.route(
        [site.shop(100, 0, domains=("shop.example.com", "www.shop.example.com")), other_app(blog)]
    )
    for host, name in [
        ("shop.example.com", "a0"),
        ("www.shop.example.com:8080", "a0"),
        ("blog.example.com", "c0"),
        ("BLOG.Example.com:80", "c0"),
    ]:
        assert get(site.listen, Host=host) == (200, name)
    status, page = get(site.listen, Host="elsewhere.example.com")
    assert status == 404
    assert "No app is configured for this host" in page


def test_an_app_without_domains_gets_what_no_other_app_does(site: Site) -> None:
    site.start_both()
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    site.balancer.route([other_app(blog), site.shop(100, 0)])
    assert get(site.listen, Host="blog.example.com") == (200, "c0")
    assert get(site.listen, Host="elsewhere.example.com") == (200, "a0")


def test_adding_changing_and_removing_an_app_fails_no_request_of_another(site: Site) -> None:
    site.start_both()
    site.route(100, 0)
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    with load(site.listen) as running:
        for _ in range(3):
            site.balancer.route([site.shop(100, 0), other_app(blog)])
            assert get(site.listen, Host="blog.example.com") == (200, "c0")
            site.balancer.route([site.shop(0, 100), other_app(blog, name="news")])
            assert get(site.listen, Host="news.example.com") == (200, "c0")
            assert get(site.listen, Host="blog.example.com") == (200, "b0")
            site.route(100, 0)
            running.wait_for_more()
    assert running.failures == []


def test_where_nothing_serves_a_page_says_so(site: Site) -> None:
    site.route(0, 0)
    status, page = get(site.listen)
    assert status == 503
    assert "No version of this app is serving" in page


def test_the_same_routes_hold_after_a_stop_and_a_new_start(site: Site) -> None:
    site.start_both()
    site.route(0, 100)
    site.balancer.stop()
    assert site.balancer.traffic() is None
    site.balancer.stop()
    site.route(0, 100)
    assert names(site) == {"b0"}


def test_before_anything_was_routed_there_is_no_traffic_and_nothing_to_stop(site: Site) -> None:
    assert site.balancer.traffic() is None
    site.balancer.stop()


def test_an_address_that_somebody_else_holds_is_refused_with_the_holders_name(site: Site) -> None:
    with socket.create_server((site.listen.host, site.listen.port)):
        with pytest.raises(BalancerError, match=rf"{site.listen}.* held by python.* \(pid \d+\)"):
            site.route(100, 0)
        assert site.balancer.traffic() is None
    site.start_both()
    site.route(100, 0)
    assert names(site) == {"a0"}


def test_a_root_with_a_long_path_works(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> None:
    make = BALANCERS[request.node.callspec.params["site"]]
    with site_in(tmp_path / ("long" * 40), make) as deep:
        deep.start_both()
        deep.route(100, 0)
        deep.balancer.route([deep.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        assert names(deep) == {"b0"}
