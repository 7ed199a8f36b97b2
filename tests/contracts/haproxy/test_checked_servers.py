"""Apps on other machines, which may go without a word: HAProxy looks at them itself."""

from __future__ import annotations

import csv
import os
import shutil
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy import arrival, checks, file
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.names import CANARY_HEADER, PREVIEW_HEADER
from substitute.core.model.errors import UnmovedError
from substitute.core.ports.balancer import Preview
from substitute.http import exchange
from tests.contracts import nodes as machines
from tests.contracts.balanced_site import A, B, Site
from tests.contracts.haproxies import meanwhile, path, restart
from tests.contracts.strict_client import get, load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.slots import SlotName
    from substitute.core.ports.balancer import Backend
    from tests.contracts.nodes import Nodes
    from tests.contracts.strict_client import Load

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nft"), reason="only root makes a network of its own"
)
CLIENTS = 8
MORE_THAN_THE_KERNEL_KEEPS = 32 << 20
ENOUGH = 400
"""Requests after which it is no chance that an instance has had none."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with machines.nodes() as made:
        yield made


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    cluster.renew()
    return cluster


@pytest.fixture
def site(kept: Site) -> Site:
    kept.renew()
    return kept


def sees(site: Site, *names: str) -> bool:
    """Whether HAProxy counts exactly these as there, having looked at them all."""
    rows = [row for row in statistics(site) if row["check_status"] not in {"", "INI"}]
    states = {row["svname"]: row["status"] for row in rows}
    up = {name for name, state in states.items() if state.startswith("UP")}
    return len(states) == 2 * machines.COUNT and up == set(names)


def statistics(site: Site) -> list[dict[str, str]]:
    """What HAProxy says of the app's first backend, and of each server there."""
    said = api.ask(site.run_directory, api.WORKER, "show stat -1 6 -1")
    return [row for row in csv.DictReader(said.splitlines()) if row["# pxname"] == "app_shop"]


def reached(running: Load) -> Counter[str]:
    """Who answers the next requests, by name; not those that are under way."""
    running.wait_for_more()
    before = running.answers
    running.wait_for_more(ENOUGH)
    return running.answers - before


def in_flight(site: Site, nodes: Nodes, slot: SlotName) -> int:
    seen = site.observed()
    return sum(seen[nodes.endpoint(f"{slot}{number}")].in_flight for number in range(machines.COUNT))


@pytest.mark.parametrize("silent", [True, False], ids=["nothing answers there", "nobody listens there"])
def test_a_switch_fails_nothing_where_one_of_the_new_ones_is_not_there(
    site: Site,
    nodes: Nodes,
    silent: bool,  # noqa: FBT001
) -> None:
    nodes.start("a0", "a1", "a2", "b0", "b1")
    if silent:
        nodes.close("b2")
    site.balancer.route([nodes.shop(100, 0)])
    with load(site.listen, keepalive=False, clients=4) as others, load(site.listen) as running:
        assert set(reached(running)) == {"a0", "a1", "a2"}
        site.balancer.route([nodes.shop(0, 100)])
        after = reached(running)
        assert set(after) == {"b0", "b1"}
        assert min(after.values()) > ENOUGH / 4, "each has as many as the others"
    assert running.failures == []
    assert others.failures == []
    assert site.observed()[nodes.endpoint("b2")].requests == 0, "none had to be tried again"


def test_a_machine_that_loses_its_power_costs_no_request_that_may_be_repeated(
    site: Site, nodes: Nodes
) -> None:
    nodes.start_all()
    site.balancer.route([nodes.shop(100, 0)])
    eventually(lambda: sees(site, "a0", "a1", "a2", "b0", "b1", "b2"))
    with load(site.listen, methods=("GET",)) as running:
        running.wait_for_more(ENOUGH)
        nodes.fail(1)
        eventually(lambda: sees(site, "a0", "a2", "b0", "b2"))
        after = reached(running)
        assert set(after) == {"a0", "a2"}
        assert min(after.values()) > ENOUGH / 4, "each has as many as the others"
    assert running.failures == []


def test_what_is_in_flight_there_is_lost_where_it_may_not_be_repeated_and_nothing_else(
    site: Site, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_UNANSWERED_ONCE", 3)
    nodes.start_all()
    site.balancer.route([nodes.shop(100, 0)])
    eventually(lambda: sees(site, "a0", "a1", "a2", "b0", "b1", "b2"))
    with load(site.listen, clients=CLIENTS, methods=("POST",)) as posts:
        with load(site.listen) as both, load(site.listen, methods=("GET",), keepalive=False) as gets:
            gets.wait_for_more(ENOUGH)
            nodes.fail(1)
            eventually(lambda: sees(site, "a0", "a2", "b0", "b2"))
            assert set(reached(both)) == {"a0", "a2"}
        assert gets.failures == []
        assert [failed for failed in both.failures if not failed.startswith("POST")] == []
        assert set(reached(posts)) == {"a0", "a2"}
    assert len(posts.failures) <= CLIENTS, "each was sent once, and may have arrived"


def test_an_upload_is_not_cut_because_the_app_is_busy(site: Site, nodes: Nodes) -> None:
    nodes.start("a0")
    site.balancer.route([nodes.shop(100, 0)])
    body = b"x" * MORE_THAN_THE_KERNEL_KEEPS
    asked = exchange.request("POST", "/late/4", [("Host", "x"), ("Content-Length", str(len(body)))], body)
    with exchange.connect(f"http://{site.listen}", 60.0) as connection:
        reply = exchange.ask(connection, asked, 60.0)
    assert reply.head.status == 200
    assert len(reply.body) == len("a0") + len(body)


def test_a_slot_that_is_nowhere_gets_nothing_and_nothing_is_taken_from_the_other(
    site: Site, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "_PATIENCE", 2.0)
    nodes.start("a0", "a1", "a2")
    nodes.close("b0")
    site.balancer.route([nodes.shop(100, 0)])
    with load(site.listen) as running:
        for shares in ((0, 100), (90, 10)):
            with pytest.raises(UnmovedError, match="no instance of slot b of shop") as raised:
                site.balancer.route([nodes.shop(*shares)])
            assert f"{nodes.endpoint('b0')}: Layer4 timeout" in str(raised.value.fact)
            assert f"{nodes.endpoint('b1')}: Layer4 connection problem: Connection refused" in str(
                raised.value.fact
            )
            assert file.shares(path(site).read_text(), "shop") == {A: 100, B: 0}
        assert set(reached(running)) == {"a0", "a1", "a2"}
    assert running.failures == []
    assert {site.observed()[nodes.endpoint(f"b{number}")].requests for number in range(3)} == {0}


def test_one_that_nobody_shares_with_has_to_be_somewhere_too(
    site: Site, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "_PATIENCE", 2.0)
    with pytest.raises(UnmovedError, match="no instance of slot a of shop"):
        site.balancer.route([nodes.shop(100, 0)])
    site.balancer.route([nodes.shop(0, 0)])
    nodes.start("a0", "b1")
    site.balancer.route([nodes.shop(100, 0)])
    nodes.stop("a0")
    eventually(lambda: sees(site, "b1"))
    site.balancer.route([nodes.shop(0, 100)])
    assert get(site.listen) == (200, "b1")


def test_it_is_waited_for_until_one_comes(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a1", "a2", "b0")
    nodes.close("b0")
    site.balancer.route([nodes.shop(100, 0)])
    with load(site.listen) as running:
        with meanwhile(lambda: site.balancer.route([nodes.shop(0, 100)])) as routing:
            running.wait_for_more()
            assert routing.is_alive()
            assert file.shares(path(site).read_text(), "shop") == {A: 100, B: 0}
            nodes.open("b0")
        assert set(reached(running)) == {"b0"}
    assert running.failures == []


def test_whoever_restarts_it_while_the_new_ones_are_waited_for_has_the_old_ones(
    site: Site, nodes: Nodes
) -> None:
    nodes.start("a0", "a1", "a2", "b0")
    nodes.close("b0")
    site.balancer.route([nodes.shop(100, 0)])
    with meanwhile(lambda: site.balancer.route([nodes.shop(0, 100)])):
        restart(site)
        assert {get(site.listen)[1] for _ in range(50)} <= {"a0", "a1", "a2"}
        nodes.open("b0")
    assert {get(site.listen)[1] for _ in range(50)} == {"b0"}


def test_after_a_restart_it_passes_over_the_same_ones(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a1", "b0", "b1")
    nodes.close("a2")
    nodes.close("b2")
    site.balancer.route([nodes.shop(100, 0)])
    restart(site)
    assert {get(site.listen, method=method)[0] for method in ("GET", "POST") for _ in range(20)} == {200}
    eventually(lambda: sees(site, "a0", "a1", "b0", "b1"))
    with load(site.listen) as running:
        site.balancer.route([nodes.shop(0, 100)])
        assert set(reached(running)) == {"b0", "b1"}
    assert running.failures == []


def test_what_is_in_flight_counts_after_the_switch(site: Site, nodes: Nodes) -> None:
    nodes.start_all()
    site.balancer.route([nodes.shop(100, 0)])
    waiting = [
        threading.Thread(target=get, args=(site.listen, "/wait"), kwargs={"method": method})
        for method in ("GET", "POST")
        for _ in range(3)
    ]
    for one in waiting:
        one.start()
    eventually(lambda: in_flight(site, nodes, A) == len(waiting))
    site.balancer.route([nodes.shop(0, 100)])
    seen = site.observed()
    assert {seen[nodes.endpoint(f"a{number}")].share for number in range(3)} == {0}
    assert {seen[nodes.endpoint(f"b{number}")].share for number in range(3)} == {100}
    assert in_flight(site, nodes, A) == len(waiting)
    for number in range(machines.COUNT):
        get(nodes.endpoint(f"a{number}"), "/release")
    for one in waiting:
        one.join()
    eventually(lambda: in_flight(site, nodes, A) == 0)


def test_a_client_keeps_its_version_while_some_of_it_are_not_there(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a2", "b0", "b1")
    nodes.close("a1")
    nodes.close("b2")
    site.balancer.route([replace(nodes.shop(50, 50), candidate=B)])
    eventually(lambda: sees(site, "a0", "a2", "b0", "b1"))
    asked = {said: Counter(ask(site, CANARY_HEADER, said) for _ in range(100)) for said in ("yes", "no")}
    assert set(asked["yes"]) == {"b0", "b1"}
    assert set(asked["no"]) == {"a0", "a2"}
    assert min(count for counts in asked.values() for count in counts.values()) > 20


def test_a_client_gets_the_other_version_where_its_own_is_nowhere(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a1", "a2", "b0")
    site.balancer.route([replace(nodes.shop(50, 50), candidate=B)])
    nodes.close("b0")
    eventually(lambda: sees(site, "a0", "a1", "a2"))
    assert {ask(site, CANARY_HEADER, "yes") for _ in range(50)} == {"a0", "a1", "a2"}


def test_a_version_is_previewed_where_it_is(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a1", "a2", "b1")
    previewed = replace(nodes.shop(100, 0), preview=Preview("token", B))
    site.balancer.route([previewed])
    eventually(lambda: sees(site, "a0", "a1", "a2", "b1"))
    assert {ask(site, PREVIEW_HEADER, "token") for _ in range(50)} == {"b1"}


def ask(site: Site, header: str, value: str) -> str:
    return get(site.listen, **{header: value})[1]


@pytest.mark.parametrize("silent", [True, False], ids=["nothing answers there", "nobody listens there"])
@pytest.mark.parametrize("hold", [0.0, 30.0])
def test_requests_wait_while_none_of_the_live_ones_is_there(
    site: Site,
    nodes: Nodes,
    hold: float,
    silent: bool,  # noqa: FBT001
) -> None:
    nodes.start("a0", "a1", "a2")
    site.balancer.route([replace(nodes.shop(100, 0), hold=hold)])
    with load(site.listen) as running:
        running.wait_for_more(ENOUGH)
    assert running.failures == []
    for name in ("a0", "a1", "a2"):
        nodes.close(name) if silent else nodes.stop(name)
    # They come before HAProxy has noticed, and after.
    with load(site.listen, answered=False) as running:
        eventually(lambda: sees(site))
        with load(site.listen, answered=False) as later:
            eventually(lambda: waiting(site) == 16)
            if silent:
                nodes.open("a1")
            else:
                nodes.start("a1")
            running.wait_for_more()
            later.wait_for_more()
    assert running.failures + later.failures == []
    assert set(later.answers) == {"a1"}


def test_requests_wait_for_the_next_version_where_two_may_not_run_at_once(site: Site, nodes: Nodes) -> None:
    nodes.start("a0", "a1", "a2")
    site.balancer.route([replace(nodes.shop(100, 0), hold=30.0)])
    with load(site.listen) as running:
        site.balancer.route([replace(nodes.shop(0, 0), hold=30.0, waits=True)])
        eventually(lambda: waiting(site) == CLIENTS)
        for name in ("a0", "a1", "a2"):
            nodes.stop(name)
        nodes.start("b1")
        site.balancer.route([replace(nodes.shop(0, 100), hold=30.0)])
        assert set(reached(running)) == {"b1"}
    assert running.failures == []


def waiting(site: Site) -> int:
    return sum(int(row["scur"]) for row in statistics(site) if row["svname"] == "BACKEND")


def test_where_none_has_a_share_they_are_refused_at_once(site: Site, nodes: Nodes) -> None:
    nodes.start("a0")
    site.balancer.route([nodes.shop(100, 0)])
    site.balancer.route([nodes.shop(0, 0)])
    assert {get(site.listen, method=method)[0] for method in ("GET", "POST")} == {503}
    assert {row["wretr"] for row in statistics(site) if row["svname"] == "BACKEND"} == {"0"}


def with_assets(backend: Backend, spare: SlotName) -> Backend:
    return replace(backend, assets=("/assets/",), spare=spare)


def test_an_asset_is_looked_for_where_somebody_is(site: Site, nodes: Nodes) -> None:
    nodes.start("a1", "b2")
    site.balancer.route([nodes.shop(100, 0)])
    site.balancer.reload([with_assets(nodes.shop(0, 100), A)])
    eventually(lambda: sees(site, "a1", "b2"))
    for name in ("a1", "b2"):
        assert {get(site.listen, f"/assets/{name}") for _ in range(20)} == {(200, name)}
    assert get(site.listen, "/assets/none")[0] == 404


def test_what_was_seen_at_another_address_does_not_count(
    site: Site, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "_PATIENCE", 2.0)
    nodes.start_all()
    site.balancer.route([nodes.shop(100, 0)])
    eventually(lambda: sees(site, "a0", "a1", "a2", "b0", "b1", "b2"))
    nodes.ports[B] += 1
    with pytest.raises(UnmovedError, match="no instance of slot b"):
        site.balancer.route([nodes.shop(0, 100)])
    assert get(site.listen)[0] == 200
