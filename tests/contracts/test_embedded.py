"""What the embedded balancer does besides the contract: it listens itself, and tells apps apart."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import BalancerError
from substitute.core.model.slots import Endpoint
from tests.contracts import haproxies
from tests.contracts.balanced_site import Site, other_app, site_in
from tests.contracts.strict_client import get, load
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=haproxies.KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path / "root", haproxies.KINDS[request.param]) as made:
        yield made


def names(site: Site, count: int = 20) -> set[str]:
    return {get(site.listen)[1] for _ in range(count)}


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


def test_an_address_that_somebody_else_holds_is_refused_with_the_holders_name(site: Site) -> None:
    with socket.create_server((site.listen.host, site.listen.port)):
        with pytest.raises(BalancerError, match=rf"{site.listen}.* held by python.* \(pid \d+\)"):
            site.route(100, 0)
        assert site.balancer.traffic() == {}
    site.start_both()
    site.route(100, 0)
    assert names(site) == {"a0"}


def test_the_haproxy_of_another_root_is_named_as_that_and_nobody_is_told_to_end_it(
    site: Site, tmp_path: Path
) -> None:
    site.start_both()
    site.route(100, 0)
    with site_in(tmp_path / "copy", site.kind) as copy:
        copy.listen = site.listen
        copy.balancer = copy.kind.make(copy)
        with pytest.raises(BalancerError, match="That is the balancer of the root") as refused:
            copy.route(100, 0)
        assert str(site.root) in refused.value.fact
        assert refused.value.cure.startswith("Leave it running")
    assert names(site) == {"a0"}


def test_a_root_with_a_long_path_works(site: Site, tmp_path: Path) -> None:
    with site_in(tmp_path / ("long" * 40), site.kind) as deep:
        deep.start_both()
        deep.route(100, 0)
        deep.balancer.route([deep.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        assert names(deep) == {"b0"}


def test_the_same_routes_again_leave_its_process_alone(site: Site) -> None:
    site.route(0, 100)
    running = site.runtime.inspect("haproxy").process
    for _ in range(3):
        site.route(0, 100)
    assert site.runtime.inspect("haproxy").process == running


def test_before_anything_was_routed_and_after_a_stop_there_is_no_traffic(site: Site) -> None:
    assert site.balancer.traffic() == {}
    site.balancer.stop()
    site.route(0, 100)
    assert site.balancer.traffic()
    site.balancer.stop()
    assert site.balancer.traffic() == {}
