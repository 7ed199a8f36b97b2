"""A GET of an asset that the live version does not have is asked of the one that stands by, and of nobody else."""

from __future__ import annotations

import http.client
from contextlib import closing
from dataclasses import replace

import pytest

from substitute.balancers.haproxy import assets
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server
from substitute.demo.load import Load
from tests.contracts.balanced_site import A, B, Site
from tests.contracts.haproxies import meanwhile, path, stopped
from tests.contracts.strict_client import get, load
from tests.ports import free_port
from tests.waiting import eventually

FOUND = {"a0": (200, "a0"), "b0": (200, "b0")}


def route(site: Site, a: int, b: int, spare: SlotName | None) -> None:
    site.balancer.route([replace(site.shop(a, b), assets=("/assets/", "/more/"), spare=spare)])


@pytest.fixture(params=[A, B])
def spare(site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SlotName:
    """The slot that stands by."""
    monkeypatch.setattr(assets, "_ASSET_SECONDS", 1)
    route(site, 100 * (request.param is B), 100 * (request.param is A), request.param)
    return SlotName(request.param)


def test_the_one_that_stands_by_is_asked_for_what_the_live_one_does_not_have(
    site: Site, spare: SlotName
) -> None:
    live, idle = f"{spare.other}0", f"{spare}0"
    before = site.requests(spare)
    assert [get(site.listen, f"/assets/{live}") for _ in range(3)] == [FOUND[live]] * 3
    assert get(site.listen, "/status/404") == (404, live)
    assert get(site.listen, f"/assets/{idle}", "POST")[0] == 404
    assert site.requests(spare) == before
    assert [get(site.listen, f"/assets/{idle}") for _ in range(3)] == [FOUND[idle]] * 3
    assert head(site, f"/assets/{idle}") == 200
    assert get(site.listen, "/assets/nowhere") == (404, live)
    assert site.requests(spare) == before + 5


def head(site: Site, path: str) -> int:
    connection = http.client.HTTPConnection(site.listen.host, site.listen.port, timeout=60)
    with closing(connection):
        connection.request("HEAD", path)
        return connection.getresponse().status


def test_one_that_hangs_or_has_crashed_or_is_to_leave_costs_nobody_more_than_its_answer(
    site: Site, spare: SlotName
) -> None:
    live, idle = f"{spare.other}0", f"{spare}0"
    with stopped(site._instances[idle].pid):
        assert get(site.listen, f"/assets/{idle}") == (404, live)
    site.kill(idle)
    assert get(site.listen, f"/assets/{idle}") == (404, live)
    site.start(idle, site.endpoints[spare])
    assert get(site.listen, f"/assets/{idle}") == FOUND[idle]
    route(site, 100 * (spare is B), 100 * (spare is A), None)
    assert get(site.listen, f"/assets/{idle}") == (404, live)
    site.drained(spare)


def test_while_both_get_requests_each_is_asked_for_what_the_other_does_not_have(site: Site) -> None:
    route(site, 50, 50, B)
    assert {get(site.listen, f"/assets/{name}") for name in FOUND for _ in range(6)} == set(FOUND.values())
    assert get(site.listen, "/assets/nowhere")[0] == 404


def test_who_stands_by_changes_in_the_middle_of_a_request_that_still_finds_its_asset(site: Site) -> None:
    route(site, 100, 0, B)
    with loading(site, "/assets/a0") as mine, loading(site, "/assets/b0") as other:
        for _ in range(25):
            route(site, 0, 100, A)
            route(site, 100, 0, B)
        mine.wait_for(50)
        other.wait_for(50)
    assert mine.so_far.failures == other.so_far.failures == []


def loading(site: Site, path: str) -> Load:
    """GETs of it without a pause."""
    return Load(f"http://{site.listen}{path}", connections=4)


def test_one_that_comes_and_goes_changes_no_share_and_needs_no_reload(site: Site) -> None:
    route(site, 90, 10, B)
    before = path(site).read_text().split("weight")[0]
    assert (site.traffic(A).share, site.traffic(B).share) == (90, 10)
    with load(site.listen) as running:
        for spare in (None, A, B, None):
            route(site, 100, 0, spare)
            running.wait_for_more()
            assert (site.traffic(A).share, site.traffic(B).share) == (100, 0)
    assert running.failures == []
    assert path(site).read_text().split("weight")[0] == before


def test_a_request_for_an_asset_counts_in_the_drain_of_the_one_that_has_it(
    site: Site, spare: SlotName
) -> None:
    with meanwhile(lambda: get(site.listen, f"/assets/{spare}0/wait")):
        eventually(lambda: site.traffic(spare).in_flight == 1, "it is asked")
        route(site, 100 * (spare is B), 100 * (spare is A), None)
        assert site.traffic(spare).in_flight == 1
        get(site.endpoints[spare], "/release")
    site.drained(spare)


def test_of_several_endpoints_any_is_asked(site: Site) -> None:
    more = {slot: Endpoint("127.0.0.1", free_port()) for slot in (A, B)}
    for slot, endpoint in more.items():
        site.start(f"{slot}1", endpoint)
    servers = tuple(
        Server(slot, by[slot], 100 * (slot is A)) for slot in (A, B) for by in (site.endpoints, more)
    )
    site.balancer.route([Backend("shop", (), servers, assets=("/assets/",), spare=B)])
    eventually(lambda: get(site.listen, "/assets/b0") == FOUND["b0"])
    eventually(lambda: get(site.listen, "/assets/b1") == (200, "b1"))
    for name in ("b0", "b1"):
        site.kill(name)
    assert get(site.listen, "/assets/b0")[0] == 404
