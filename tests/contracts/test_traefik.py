"""What is Traefik's own: its file and who watches it, its API and who may ask it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.traefik import api as traefik_api
from substitute.balancers.traefik import balancer as adapter
from substitute.balancers.traefik import configuration
from substitute.balancers.traefik.balancer import Traefik
from substitute.core.model.errors import BalancerError, UnobservedError
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import is_stopped
from tests.contracts import traefiks
from tests.contracts.balanced_site import A, B, Site, other_app, site_in
from tests.contracts.strict_client import conversation, get, get_as_a_probe, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contracts.traefiks import Program

pytestmark = pytest.mark.slow

BROKEN = "http: [\n"
NO_TRAEFIK = "Traefik's API does not answer on https?://127"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_STARTING", 0.3)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path, traefiks.KINDS["traefik"]) as made:
        made.start_both()
        eventually(traefiks.of(made).api_answers)
        yield made


@pytest.fixture
def program(site: Site) -> Program:
    return traefiks.of(site)


def again(program: Program, **static: str) -> None:
    """Start it with another static configuration."""
    program.stop()
    program.configure(**static)
    program.start()


def impatient(program: Program, url: str = "") -> Traefik:
    return Traefik(program.file, url or program.url, patience=1.0)


def stamp(program: Program) -> tuple[int, int]:
    """Different after each write; an inode alone may come back."""
    seen = program.file.stat()
    return seen.st_ino, seen.st_mtime_ns


def served(site: Site) -> set[str]:
    return {get(site.listen)[1] for _ in range(10)}


# -- who watches its file -----------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["directory", "filename"])
@pytest.mark.parametrize("throttle", ["0s", "2s"])
def test_a_replaced_file_is_noticed(site: Site, program: Program, provider: str, throttle: str) -> None:
    site.route(100, 0)  # a provider of one file does not start without it
    again(program, provider=provider, throttle=throttle)
    eventually(program.api_answers)
    for a in (0, 100):
        site.route(a, 100 - a)
        assert site.traffic(A).share == a


def test_a_file_that_nobody_watches_is_put_back(site: Site, program: Program) -> None:
    site.route(100, 0)
    before = program.file.read_text()
    again(program, provider="")
    eventually(program.api_answers)
    with pytest.raises(BalancerError, match=r"did not take over .*It has no service shop@file") as caught:
        impatient(program).route([site.shop(0, 100)])
    assert f"directory: {program.file.parent}" in caught.value.cure
    assert program.file.read_text() == before


def test_a_single_file_that_came_after_traefik_is_kept_for_its_next_start(
    site: Site, program: Program
) -> None:
    again(program, provider="filename")
    eventually(program.api_answers)
    with pytest.raises(BalancerError, match="did not take over") as caught:
        impatient(program).route([site.shop(100, 0)])
    assert "restarted" in caught.value.cure
    again(program, provider="filename")
    eventually(program.api_answers)
    site.route(0, 100)


def test_where_another_file_of_the_directory_is_broken_the_earlier_routes_stay_in_force(
    site: Site, program: Program
) -> None:
    site.route(100, 0)
    before = program.file.read_text()
    theirs = program.file.parent / "broken.yml"
    theirs.write_text(BROKEN)
    with load(site.listen, 2) as running:
        with pytest.raises(
            BalancerError, match=r"did not take over .*Its weights of shop@file are"
        ) as caught:
            impatient(program).route([site.shop(0, 100)])
        running.wait_for_more()
    assert "its log says which file" in caught.value.cure
    assert program.file.read_text() == before
    assert running.failures == []
    assert set(running.answers) == {"a0"}
    theirs.unlink()
    site.route(0, 100)
    assert served(site) == {"b0"}


def test_a_service_of_the_users_own_by_that_name_is_noticed(site: Site, program: Program) -> None:
    (program.file.parent / "own.yml").write_text(
        'http: {services: {shop: {loadBalancer: {servers: [{url: "http://127.0.0.1:9"}]}}}}\n'
    )
    eventually(lambda: program.knows("shop"))
    with pytest.raises(BalancerError, match=r"weights of shop@file are http://127\.0\.0\.1:9 1, not"):
        impatient(program).route([site.shop(100, 0)])


def test_a_file_of_the_users_own_is_not_replaced(site: Site, program: Program) -> None:
    program.file.write_text("http: {}\n")
    with pytest.raises(BalancerError, match="was not written by substitute"):
        site.route(100, 0)
    assert program.file.read_text() == "http: {}\n"


def test_a_directory_that_is_not_there_is_named(site: Site, program: Program) -> None:
    file = program.home / "nowhere" / "substitute.yml"
    with pytest.raises(BalancerError, match=r"nowhere/substitute\.yml cannot be written"):
        Traefik(file, program.url).route([site.shop(100, 0)])


# -- who may ask its api ------------------------------------------------------------------------------


def test_a_traefik_that_is_stopped_is_noticed_before_anything_is_written(
    site: Site, program: Program
) -> None:
    site.route(100, 0)
    before = stamp(program)
    program.stop()
    with pytest.raises(BalancerError, match=rf"{NO_TRAEFIK}.*Connection refused") as caught:
        site.route(0, 100)
    assert "Is Traefik running?" in caught.value.cure
    assert stamp(program) == before
    program.start()
    eventually(lambda: program.knows("shop"))
    assert served(site) == {"a0"}


def test_a_wrong_port_for_the_api_is_said(site: Site, program: Program) -> None:
    site.route(100, 0)
    for wrong in (f"http://127.0.0.1:{free_port()}", f"http://{site.listen}", f"https://{program.api}"):
        with pytest.raises(BalancerError, match=NO_TRAEFIK) as caught:
            impatient(program, wrong).route([site.shop(0, 100)])
        assert "balancer.api" in caught.value.cure
    assert served(site) == {"a0"}


def test_an_api_that_is_not_switched_on_is_said(site: Site, program: Program) -> None:
    again(program, api="{insecure: false}")
    with pytest.raises(BalancerError, match="not Traefik's API") as caught:
        site.route(100, 0)
    assert "api: {insecure: true}" in caught.value.cure


def behind_a_router(program: Program, *, middlewares: str) -> None:
    """Have a router of the user's lead to the API."""
    (program.file.parent / "api.yml").write_text(
        "http:\n"
        f"  routers: {{api: {{rule: 'PathPrefix(`/api`)', service: api@internal, entryPoints: [traefik], "
        f"middlewares: {middlewares}}}}}\n"
        "  middlewares: {password: {basicAuth: {users: ['me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=']}}}\n"
    )
    again(program, api="{insecure: false}")


def test_an_api_behind_a_router_of_the_users_own_will_do(site: Site, program: Program) -> None:
    behind_a_router(program, middlewares="[]")
    eventually(program.api_answers)
    site.route(0, 100)
    assert served(site) == {"b0"}


def test_an_api_that_asks_for_a_password_is_said(site: Site, program: Program) -> None:
    behind_a_router(program, middlewares="[password]")
    eventually(lambda: get(program.api, "/api/version")[0] == 401)
    with pytest.raises(BalancerError, match="answers 401") as caught:
        site.route(100, 0)
    assert "without one" in caught.value.cure


def test_a_traefik_that_is_just_starting_is_waited_for(
    site: Site, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_STARTING", 30.0)
    site.route(100, 0)
    program.stop()
    later = threading.Timer(0.5, program.start)
    later.start()
    site.route(0, 100)
    later.join()
    assert served(site) == {"b0"}


# -- what it is told ----------------------------------------------------------------------------------


def test_what_is_in_force_is_not_written_again(site: Site, program: Program) -> None:
    site.route(0, 100)
    before = stamp(program)
    site.route(0, 100)
    Traefik(program.file, program.url).route([site.shop(0, 100)])
    assert stamp(program) == before
    assert program.file.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_deployer_wrote_is_proven_by_the_next(site: Site, program: Program) -> None:
    site.route(100, 0)
    program.file.write_text(configuration.render([site.shop(0, 100)]))
    site.route(0, 100)
    assert served(site) == {"b0"}


def test_an_app_whose_shares_are_all_0_gets_503(site: Site) -> None:
    site.route(100, 0)
    site.route(0, 0)
    assert get(site.listen)[0] == 503
    site.route(0, 100)
    assert served(site) == {"b0"}


def test_apps_come_and_go_without_a_failure_of_the_others(site: Site, program: Program) -> None:
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    site.route(100, 0)
    with load(site.listen) as running:
        site.balancer.route([site.shop(100, 0), other_app(blog)])
        assert get(site.listen, Host="blog.example.com") == (200, "c0")
        site.balancer.route([site.shop(100, 0), other_app(blog, share=0)])
        assert get(site.listen, Host="blog.example.com")[0] == 503
        traffic = site.balancer.traffic()
        assert traffic
        assert {e: seen.share for e, seen in traffic.items()} == {
            site.endpoints[A]: 100,
            site.endpoints[B]: 0,
            blog: 0,
        }
        site.route(100, 0)
        eventually(lambda: not program.knows("blog"))
    assert running.failures == []
    assert set(running.answers) == {"a0"}


def test_a_websocket_and_a_slow_request_straddle_many_switches(site: Site) -> None:
    site.route(100, 0)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(get(site.listen, "/wait")))
    slow.start()
    with conversation(site.listen) as say:
        assert say("0") == "a0 0"
        eventually(lambda: site.traffic(A).in_flight >= 2)
        for turn in range(1, 6):
            site.route(*((0, 100) if turn % 2 else (50, 50)))
            assert say(str(turn)) == f"a0 {turn}"
        get_as_a_probe(site.endpoints[A], "/release")
        slow.join()
        assert answers == [(200, "a0")]
        eventually(lambda: site.traffic(A).in_flight == 1)
        assert say("close") == ""
    site.drained(A)


# -- what it is sending -------------------------------------------------------------------------------


def test_a_request_that_was_read_before_a_switch_may_yet_come(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "IDLE_SECONDS", 3600)
    site.route(100, 0)
    site.route(0, 100)
    assert site.traffic(A).in_flight == 1
    site.route(0, 100)
    assert site.traffic(A).in_flight == 1
    monkeypatch.setattr(configuration, "IDLE_SECONDS", 0)
    assert site.traffic(A).in_flight == 0


def test_idle_connections_to_an_instance_go_by_themselves(site: Site) -> None:
    site.route(100, 0)
    served(site)
    site.drained(A)


def test_nothing_is_known_of_a_traefik_that_is_stopped(site: Site, program: Program) -> None:
    assert site.balancer.traffic() == {}
    site.route(100, 0)
    site.drained(A)
    program.stop()
    with pytest.raises(UnobservedError):
        site.balancer.traffic()


def test_while_its_api_is_silent_connections_are_counted_all_the_same(site: Site, program: Program) -> None:
    site.route(100, 0)
    deaf = impatient(program, f"http://127.0.0.1:{free_port()}")
    with conversation(site.listen) as say:
        assert say("one") == "a0 one"
        traffic = deaf.traffic()
        assert traffic
        assert traffic[site.endpoints[A]].in_flight >= 1
        assert traffic[site.endpoints[A]].share is None


def test_one_that_is_stopped_is_not_taken_for_gone_and_goes_on_as_it_was_told_before(
    site: Site, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traefik_api, "_TIMEOUT", 0.5)
    site.route(100, 0)
    before = program.file.read_text()
    os.kill(program.pid, signal.SIGSTOP)
    try:
        eventually(lambda: is_stopped(program.pid))
        with pytest.raises(BalancerError, match=NO_TRAEFIK):
            site.route(0, 100)
        with pytest.raises(BalancerError, match=NO_TRAEFIK):
            impatient(program).follow([site.shop(0, 100)])
        with pytest.raises(UnobservedError):
            impatient(program).traffic()
        assert program.file.read_text() == before
    finally:
        os.kill(program.pid, signal.SIGCONT)
    eventually(program.api_answers)
    assert served(site) == {"a0"}
    site.route(0, 100)
    assert served(site) == {"b0"}
