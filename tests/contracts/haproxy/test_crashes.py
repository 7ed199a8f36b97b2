"""HAProxy is killed, hangs or is suspended."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy import balancer as adapter
from substitute.balancers.haproxy import program as haproxy_program
from substitute.balancers.haproxy import socket as api
from substitute.core.model.errors import BalancerError, UnmovedError, UnobservedError
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import identify, is_alive
from substitute.runtimes.supervisord.runtime import Supervisord
from tests.contracts.balanced_site import A, Site, other_app
from tests.contracts.haproxies import another_app, balancer, master, stopped, worker
from tests.contracts.strict_client import conversation, get, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("victim", [worker, master])
def test_when_it_is_killed_it_comes_back_with_the_same_routes(
    site: Site, victim: Callable[[Site], int]
) -> None:
    site.route(100, 0)
    site.route(0, 100)
    killed = identify(victim(site))
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(killed))
    eventually(site.observed)
    assert {get(site.listen)[1] for _ in range(10)} == {"b0"}


@pytest.mark.parametrize("victim", [worker, master])
def test_what_one_that_hangs_has_in_flight_is_not_known(
    site: Site, victim: Callable[[Site], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_TIMEOUT", 0.2)
    site.route(100, 0)
    with stopped(victim(site)), pytest.raises(UnobservedError, match="does not report its state"):
        site.balancer.traffic()
    assert site.balancer.traffic()


@pytest.mark.parametrize("victim", [worker, master])
@pytest.mark.parametrize("reload", [False, True], ids=["other shares", "another app"])
def test_routing_right_after_it_was_killed_succeeds(
    site: Site,
    victim: Callable[[Site], int],
    reload: bool,  # noqa: FBT001
) -> None:
    site.route(100, 0)
    os.kill(victim(site), signal.SIGKILL)
    more = [other_app(Endpoint("127.0.0.1", free_port()))] if reload else []
    site.balancer.route([site.shop(0, 100), *more])
    assert {get(site.listen)[1] for _ in range(10)} == {"b0"}


def test_an_orphan_of_a_killed_supervisord_is_succeeded_by_one_that_is_kept(site: Site) -> None:
    site.route(100, 0)
    first = master(site)
    daemon = identify(int((site.run_directory / "supervisord.pid").read_text()))
    assert daemon
    with load(site.listen) as running, conversation(site.listen) as say:
        say("one")
        os.kill(daemon.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(daemon))
        site.runtime = Supervisord(site.run_directory)
        site.balancer = adapter.HAProxy(site.run_directory, site.runtime, balancer(site)._settings)
        site.route(0, 100)
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        running.wait_for_more()
        assert get(site.listen) == (200, "b0")
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight == 1
        say("close")
    assert running.failures == []
    assert master(site) != first
    eventually(lambda: identify(first) is None)
    assert site.runtime.kept() == {"haproxy"}
    heir = identify(master(site))
    assert heir
    site.balancer.stop()
    assert not is_alive(heir)
    assert haproxy_program.those_of(site.run_directory) == []
    assert site.balancer.traffic() == {}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_TIMEOUT", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("orphaned", [False, True], ids=["kept", "orphaned"])
def test_a_worker_that_is_stopped_is_named_and_no_other_is_started_beside_it(
    site: Site,
    orphaned: bool,  # noqa: FBT001
) -> None:
    site.route(100, 0)
    hanging, first = worker(site), master(site)
    if orphaned:
        daemon = identify(int((site.run_directory / "supervisord.pid").read_text()))
        assert daemon
        os.kill(daemon.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(daemon))
        site.runtime = Supervisord(site.run_directory)
        site.balancer = adapter.HAProxy(site.run_directory, site.runtime, balancer(site)._settings)
    with stopped(hanging):
        with pytest.raises(
            BalancerError, match=rf"pid {hanging}\) is suspended(.|\n)*kill -CONT {hanging}"
        ) as told:
            site.route(0, 100)
        assert not isinstance(told.value, UnmovedError)  # nobody is answered
        assert haproxy_program.those_of(site.run_directory) == sorted([first, hanging])
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")
    assert (master(site) == first) is not orphaned


@pytest.mark.usefixtures("impatient")
def test_a_master_that_is_stopped_is_named_while_its_worker_serves(site: Site) -> None:
    site.route(100, 0)
    hanging = master(site)
    with stopped(hanging):
        with pytest.raises(UnmovedError, match=rf"pid {hanging}\) is suspended"):
            site.route(0, 100)
        assert get(site.listen)[0] == 200
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")
    assert master(site) == hanging


@pytest.mark.usefixtures("impatient")
def test_the_requests_of_an_old_worker_that_is_stopped_are_not_taken_for_finished(site: Site) -> None:
    site.route(100, 0)
    hanging = worker(site)
    with conversation(site.listen) as say:
        say("one")
        site.balancer.route([site.shop(0, 100), another_app()])
        with stopped(hanging):
            with pytest.raises(UnobservedError):
                site.balancer.traffic()
            with pytest.raises(UnmovedError, match=rf"pid {hanging}\) is suspended"):
                site.balancer.route([site.shop(100, 0), another_app()])
        assert say("two") == "a0 two"
        assert site.traffic(A).in_flight == 1


@pytest.mark.usefixtures("impatient")
def test_stopping_ends_what_hangs_too(site: Site) -> None:
    site.route(100, 0)
    with suppress(ProcessLookupError), ExitStack() as stack:
        for pid in [worker(site), master(site)]:
            stack.enter_context(stopped(pid))
        site.balancer.stop()
    assert haproxy_program.those_of(site.run_directory) == []
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")
