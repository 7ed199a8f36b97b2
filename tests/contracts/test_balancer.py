"""What every balancer promises, on the real program: the suite that a new adapter joins by one line of `KINDS`."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from substitute.http.failures import FailedError
from tests.contracts import haproxies, nginxes, passives, traefiks
from tests.contracts.balanced_site import A, B, Kind, Site, site_in
from tests.contracts.strict_client import conversation, get, get_as_a_probe, load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.slots import SlotName
    from tests.contracts.strict_client import Load

KINDS: dict[str, Kind] = {
    **haproxies.KINDS,
    **passives.KINDS,
    **traefiks.KINDS,
    **nginxes.KINDS,
}
RELATED = {"passive behind haproxy", "passive behind caddy", "nginx of the system", *haproxies.OTHERS}
"""What such a kind has in common with another one of `KINDS` is all that is ours: its whole suite is for `make
test-long`. It switches under load in `make test-slow`."""
OTHERS = {*RELATED, "traefik"}
"""What switches under load in `make test-slow`."""
_SLOW = pytest.mark.slow
USUAL = [
    pytest.param(name, marks=pytest.mark.long if name in RELATED else _SLOW if name in OTHERS else ())
    for name in KINDS
]
IN_SLOW = [pytest.param(name, marks=_SLOW if name in OTHERS else ()) for name in KINDS]
WEIGHING = [one for one in USUAL if KINDS[str(one.values[0])].weighs]
TURNS = int(os.environ.get("TURNS", "4"))
STEP = 20
"""Requests between two operations, at least."""


@pytest.fixture(scope="module", params=USUAL)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("kept"), KINDS[request.param]) as made:
        yield made


@pytest.fixture
def site(kept: Site) -> Site:
    kept.renew()
    return kept


def names(site: Site, count: int = 20) -> set[str]:
    return {get(site.listen)[1] for _ in range(count)}


def switch(site: Site, live: SlotName) -> None:
    site.route(*((100, 0) if live is A else (0, 100)))


@contextmanager
def saturated(site: Site) -> Iterator[Load]:
    """Both slots run and a is live; requests without a pause, of which none may fail.

    GET and POST, on kept connections where the balancer keeps them, and on new ones.
    """
    site.start_both()
    switch(site, A)
    with load(site.listen, keepalive=False, clients=4) as fresh:
        if not site.kind.keeps_clients:
            yield fresh
        else:
            with load(site.listen) as kept:
                yield kept
            assert kept.failures == []
    assert fresh.failures == []


def test_every_new_request_obeys_when_route_returns(site: Site) -> None:
    site.start_both()
    for _ in range(3):
        site.route(100, 0)
        assert names(site) == {"a0"}
        site.route(50, 50)
        assert names(site) == {"a0", "b0"}
        site.route(0, 100)
        assert names(site) == {"b0"}


def test_half_and_half_is_half_and_half(site: Site) -> None:
    site.start_both()
    site.route(50, 50)
    assert 30 <= [get(site.listen)[1] for _ in range(100)].count("b0") <= 70


@pytest.mark.parametrize("kept", WEIGHING, indirect=True)
def test_shares_are_kept_in_proportion(site: Site) -> None:
    site.start_both()
    site.route(90, 10)
    # HAProxy draws new clients by chance: six standard deviations from 30.
    assert 1 <= [get(site.listen)[1] for _ in range(300)].count("b0") <= 61


def test_the_balancer_says_which_share_is_in_force_or_that_it_cannot(site: Site) -> None:
    site.route(30, 70)
    known = (site.traffic(A).share, site.traffic(B).share)
    assert known == ((30, 70) if site.kind.weighs else (None, None))
    site.route(100, 0)
    assert (site.traffic(A).share, site.traffic(B).share) == (100, 0)
    site.route(0, 100)
    assert (site.traffic(A).share, site.traffic(B).share) == (0, 100)


def test_the_same_routes_again_change_nothing(site: Site) -> None:
    site.start_both()
    switch(site, B)
    with conversation(site.listen) as say:
        assert say("one") == "b0 one"
        for _ in range(3):
            switch(site, B)
            assert names(site, 5) == {"b0"}
        assert say("two") == "b0 two"


@pytest.mark.parametrize("kept", IN_SLOW, indirect=True)
def test_switches_at_saturation_fail_no_request(site: Site) -> None:
    with saturated(site) as running:
        for turn in range(TURNS):
            live, old = ((B, A), (A, B))[turn % 2]
            site.route(50, 50)
            switch(site, live)
            site.drained(old)
            running.wait_for_more(STEP)
    assert running.answers["a0"]
    assert running.answers["b0"]


def test_the_old_instance_may_be_stopped_once_it_has_no_request_in_flight(site: Site) -> None:
    with saturated(site) as running:
        for turn in range(TURNS):
            live, old = ((B, A), (A, B))[turn % 2]
            switch(site, live)
            site.drained(old)
            site.stop(f"{old}0")
            running.wait_for_more(STEP)
            site.start(f"{old}0", site.endpoints[old])


def test_a_request_in_flight_is_seen_and_finishes_after_its_share_is_gone(site: Site) -> None:
    site.start_both()
    switch(site, A)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(get(site.listen, "/wait")))
    slow.start()
    eventually(lambda: site.traffic(A).in_flight == 1)
    switch(site, B)
    assert site.traffic(A).in_flight >= 1
    assert names(site) == {"b0"}
    get_as_a_probe(site.endpoints[A], "/release")
    slow.join()
    assert answers == [(200, "a0")]
    site.drained(A)


def test_a_long_connection_continues_across_a_switch(site: Site) -> None:
    site.start_both()
    switch(site, A)
    with conversation(site.listen) as say:
        assert say("one") == "a0 one"
        switch(site, B)
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight >= 1
        assert names(site) == {"b0"}
    site.drained(A)


def test_a_client_that_only_keeps_its_connection_is_not_in_flight(site: Site) -> None:
    site.start_both()
    switch(site, A)
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
        site.drained(A)
        switch(site, B)
        site.drained(A)
        if site.kind.keeps_clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).rstrip(b"0\r\n").endswith(b"b")


def test_requests_and_what_was_cut_are_counted_or_said_to_be_unknown(site: Site) -> None:
    site.start_both()
    switch(site, A)
    if not site.kind.counts:
        assert (site.traffic(A).requests, site.traffic(A).cut) == (None, None)
        return
    before = site.requests(A)
    assert get(site.listen, "/status/500")[0] == 500
    get(site.listen)
    assert site.requests(A) - before == 2
    assert site.traffic(A).cut == 0
    assert site.requests(B) == 0
    # One that never comes and one that breaks off, each counted as soon as nothing is in flight there.
    lost: list[object] = []

    def ask(path: str, method: str) -> None:
        try:
            lost.append(get(site.listen, path, method)[0])
        except (OSError, FailedError):
            lost.append("broken off")

    asking = [threading.Thread(target=ask, args=args) for args in (("/wait", "POST"), ("/half", "GET"))]
    for thread in asking:
        thread.start()
    eventually(lambda: site.traffic(A).in_flight == 2)
    switch(site, B)
    site.kill("a0")
    site.drained(A)
    assert site.traffic(A).cut in {2, 3}
    for thread in asking:
        thread.join()
    assert 200 not in lost


def test_after_a_restart_of_its_own_it_routes_as_before(site: Site) -> None:
    site.start_both()
    for live, name in ((B, "b0"), (A, "a0")):
        switch(site, live)
        site.restart_balancer()
        assert names(site) == {name}


def test_the_same_routes_hold_after_a_stop_and_a_new_start(site: Site) -> None:
    site.start_both()
    switch(site, B)
    site.balancer.stop()
    site.balancer.stop()
    switch(site, B)
    assert names(site) == {"b0"}
