"""Its file and what is in force: what needs a reload, what does not, and what is refused."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

import pytest

from substitute.balancers.haproxy import balancer as adapter
from substitute.balancers.haproxy import file, routes
from substitute.balancers.haproxy import program as haproxy_program
from substitute.balancers.haproxy.configuration import render
from substitute.balancers.haproxy.names import MAP
from substitute.core.model.errors import BalancerError, UnmovedError
from substitute.core.model.slots import Endpoint
from substitute.core.ports.balancer import Backend, Server
from tests.contracts.balanced_site import A, B, Site, other_app
from tests.contracts.haproxies import another_app, balancer, headers, listen_elsewhere, master, path, worker
from tests.contracts.strict_client import accepts, get, load
from tests.ports import free_port
from tests.waiting import eventually

UNBINDABLE = "192.0.2.1"
"""An address of no machine (RFC 5737)."""


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
    monkeypatch.setattr(routes, "_UNUSED", 0)
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
    assert (
        site.balancer.pending([site.shop(0, 100)])
        == "[balancer] or assets changed, or substitute was upgraded."
    )
    site.balancer.reload([site.shop(0, 100)])
    assert worker(site) != running
    assert site.balancer.pending([site.shop(0, 100)]) == ""
