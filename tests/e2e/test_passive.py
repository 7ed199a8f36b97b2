"""The origin: a static nginx that lists both slots, never edited, never reloaded. Not one request may fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.passive.rules import table_name
from substitute.core.model.slots import Endpoint
from substitute.demo.load import Load
from substitute.linux import listeners
from substitute.linux.processes import identify, signal_process
from tests.contracts.strict_client import accepts, get
from tests.e2e.site import APP, Site, fetch
from tests.e2e.traffic import PAUSE, under_load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORIGIN = """\
daemon off; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ }}
http {{
    access_log off; {temporary}
    upstream my_app {{
        server 127.0.0.1:{a};
        server 127.0.0.1:{b};
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name my_app.com;
        location / {{ proxy_pass http://my_app; }}
    }}
}}
"""
BAD = """\
import os
from http.server import *
class H(BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(500)
HTTPServer(('', int(os.environ['PORT'])), H).serve_forever()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.balancer = 'kind = "passive"\ngate = "nft"'
    made.configure()
    try:
        with nginx(made, tmp_path):
            yield made
        made.run("down")
    finally:
        made.close()
    assert gate(made) == ""


def nginx(site: Site, place: Path) -> subprocess.Popen[bytes]:
    """The user's nginx, started once."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {place}/{kind};" for kind in kinds)
    a, b = site.ports
    file = place / "nginx.conf"
    file.write_text(ORIGIN.format(place=place, temporary=temporary, a=a, b=b, port=site.port))
    process = Ended([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file), "-p", str(place)])
    eventually(lambda: accepts(Endpoint("127.0.0.1", site.port)))
    return process


class Stranger:
    """An app of the user's that nobody told substitute of, on the port of slot b. It answers as version 0."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._place = site.root.parent / "stranger"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._place.mkdir()
        shutil.copy(APP, self._place)
        (self._place / "version.txt").write_text("0\n")
        port = self._site.ports[1]
        self._process = subprocess.Popen(
            [sys.executable, self._place / APP.name],
            env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1"},
        )
        eventually(lambda: accepts(Endpoint("127.0.0.1", port)))

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def stranger(site: Site) -> Iterator[Stranger]:
    made = Stranger(site)
    try:
        yield made
    finally:
        made.stop()


class Ended(subprocess.Popen[bytes]):
    """A program that is ended with its block."""

    def __exit__(self, *details: object) -> None:
        self.terminate()
        self.wait()


def gate(site: Site) -> str:
    listed = subprocess.run(
        ["nft", "list", "table", "inet", table_name(site.root)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def test_the_origins_nginx_untouched_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.run("deploy")
    site.repository.commit("2")

    def swaps() -> None:
        for operation in ("deploy", "rollback", "restart"):
            assert site.events(operation)[-1]["drained"]["cut"] == 0

    with Load(site.url + "slow?1", connections=3) as slow:
        assert under_load(site, swaps) == {"1", "2"}
        assert slow.stop().failures == []
    assert (tmp_path / "error.log").read_text() == ""
    site.assert_only_serves("b")
    balancer = site.status()["balancer"]
    assert balancer == {"kind": "passive", "listen": None, "running": True}


def test_an_app_that_already_runs_on_a_port_is_left_alone_and_named(site: Site, stranger: Stranger) -> None:
    stranger.start()
    said: list[str] = []
    served = under_load(site, lambda: said.append(site.run("deploy", exit_status=2).stderr))
    assert served == {"0"}
    assert f"Port {site.ports[1]} of slot b is taken." in said[0]
    assert f"(pid {stranger.pid}) listens on it." in said[0]
    assert "Stop it, give slot b another port, or type `substitute adopt`" in said[0]
    assert gate(site) == ""
    assert fetch(f"http://127.0.0.1:{site.ports[1]}/") == "version 0\n"


def test_a_first_version_is_not_reached_before_it_is_ready_and_leaves_no_rule_if_it_fails(
    site: Site, stranger: Stranger
) -> None:
    site.repository.commit("bad", app=BAD)
    first, second = (Endpoint("127.0.0.1", port) for port in site.ports)
    with site.popen("deploy") as deploying:
        eventually(lambda: listeners.on(first))
        assert not accepts(first)
        assert f":{second.port}" not in gate(site)  # nothing is to run there, and it is nobody's to refuse
        deploying.send_signal(signal.SIGINT)
        deploying.communicate()
    assert gate(site) == ""
    stranger.start()
    assert under_load(site) == {"0"}


def test_a_version_that_is_not_ready_gets_no_request(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.health]\ntimeout = "1s"\n')
    site.repository.commit("bad", app=BAD)
    assert under_load(site, lambda: site.run("deploy", exit_status=1)) == {"1"}
    site.assert_only_serves("a")


def test_down_takes_the_gate_away_and_up_brings_it_back(site: Site) -> None:
    site.run("deploy")
    site.run("down")
    assert gate(site) == ""
    assert not accepts(Endpoint("127.0.0.1", site.ports[0]))
    site.run("up")
    assert "dnat" in gate(site)
    assert under_load(site) == {"1"}


def test_after_a_reboot_up_brings_back_instance_and_gate(site: Site) -> None:
    site.run("deploy")
    for pid in site.pids():
        if process := identify(pid):
            signal_process(process, signal.SIGKILL)
    subprocess.run(["nft", "delete", "table", "inet", table_name(site.root)], check=True)
    site.run("up")
    site.assert_only_serves("a")
    assert get(Endpoint("127.0.0.1", site.ports[1]))[1] == "version 1\n"


def test_a_killed_deployer_is_settled_by_its_guardian(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    site.repository.commit("2")

    def kill() -> None:
        with site.popen("deploy", "--json") as deploying:
            assert deploying.stdout
            for line in deploying.stdout:
                if json.loads(line).get("phase") == "verify":
                    break
            deploying.send_signal(signal.SIGKILL)
        eventually(lambda: site.app()["slots"]["b"]["state"] == "idle", "the guardian stopped slot b")

    under_load(site, kill)
    site.assert_only_serves("a")


@pytest.mark.long
def test_another_kind_takes_over_with_the_old_door_in_use_and_the_gate_goes_when_it_is_not(
    site: Site,
) -> None:
    site.run("deploy")
    site.repository.commit("2", build="sleep 1\n")  # time for somebody to come by the gate
    site.balancer = f'listen = "127.0.0.1:{free_port()}"'
    site.configure()
    said: list[str] = []

    def change() -> None:
        said.append(site.run("deploy", "--json").stdout)
        with Load(
            f"http://{site.status()['balancer']['listen']}/", connections=2, pause=PAUSE
        ) as through_new:
            site.run("restart")
            assert through_new.stop().failures == []

    assert under_load(site, change) == {"1", "2"}
    assert "Some connections still arrive through the gate" in said[0]
    assert "dnat" in gate(site)
    site.url = f"http://{site.status()['balancer']['listen']}/"
    site.repository.commit("3")
    assert under_load(site, lambda: site.run("deploy")) == {"2", "3"}
    assert gate(site) == ""
    site.assert_only_serves("b")
    site.run("down")
    site.run("up")
    assert fetch(site.url) == "version 3\n"
    assert gate(site) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a privilege to give up")
def test_without_the_privilege_it_warns_and_deploys_as_the_origin_did(site: Site) -> None:
    site.balancer = 'kind = "passive"\nfail_timeout = 0'
    site.configure()
    unprivileged = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    command = [*unprivileged, sys.executable, "-m", "substitute", "-C", str(site.root)]
    subprocess.run([*command, "deploy"], check=True, capture_output=True)
    site.repository.commit("2")
    second = subprocess.run([*command, "deploy", "--json"], check=True, capture_output=True, text=True)
    events = [json.loads(line) for line in second.stdout.splitlines()]
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert "has not accepted yet" in warning
    assert "CAP_NET_ADMIN" in warning
    assert fetch(f"http://127.0.0.1:{site.ports[1]}/") == "version 2\n"
    assert gate(site) == ""
