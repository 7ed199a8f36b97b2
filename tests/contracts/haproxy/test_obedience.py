"""Weights count when they are read back; who can read and write them; and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from substitute.balancers.haproxy import daemon as haproxy_daemon
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.names import AGAIN, FRONT, MAP, PAUSE
from substitute.core.model.errors import BalancerError
from substitute.core.model.slots import Endpoint
from tests.contracts.balanced_site import Site, other_app
from tests.contracts.haproxies import master, worker
from tests.contracts.strict_client import get, load
from tests.ports import free_port


def test_only_what_is_read_back_counts_as_obeyed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    talk = api.ask
    monkeypatch.setattr(
        api,
        "ask",
        lambda *asked, **more: "No such server.\n" if "set server" in asked[2] else talk(*asked, **more),
    )
    with pytest.raises(BalancerError, match=r"did not change its routes. No such server"):
        site.route(0, 100)


def test_what_gains_is_raised_before_anything_is_lowered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    said: list[str] = []
    talk = api.ask

    def ask(directory: Path, name: str, *commands: str, patience: float | None = None) -> str:
        said.extend(command for command in commands if command.startswith("set"))
        return talk(directory, name, *commands, patience=patience)

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
    monkeypatch.setattr(haproxy_daemon, "_PATIENCE", 0.1)
    with pytest.raises(BalancerError, match="does not answer"):
        site.route(0, 100)
    assert get(site.listen) == (200, "a0")


def test_one_whose_master_does_not_answer_cannot_reload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.route(100, 0)
    monkeypatch.setattr(haproxy_daemon, "_PATIENCE", 0.1)
    socket_of_master = site.run_directory / api.MASTER
    hidden = socket_of_master.rename(socket_of_master.with_suffix(".hidden"))
    with pytest.raises(BalancerError, match="Its master does not answer"):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    assert get(site.listen) == (200, "a0")
    hidden.rename(socket_of_master)


def test_its_sockets_and_files_are_its_owners_alone(site: Site) -> None:
    site.route(100, 0)
    for name in (api.WORKER, api.MASTER, FRONT, PAUSE, AGAIN, MAP, "haproxy.cfg", "log/haproxy.log"):
        assert (site.run_directory / name).stat().st_mode & 0o077 == 0


def test_it_and_supervisord_together_take_at_most_60_mb(site: Site) -> None:
    site.route(100, 0)
    with load(site.listen):
        site.balancer.route([site.shop(0, 100), other_app(Endpoint("127.0.0.1", free_port()))])
    pids = [int((site.run_directory / "supervisord.pid").read_text()), master(site), worker(site)]
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)
    assert resident <= 60 << 20
