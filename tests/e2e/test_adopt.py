"""The app that runs today is taken over while requests flow, whatever keeps it, and leaves at the first deployment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.slots import Endpoint
from substitute.demo.load import Load
from substitute.linux.processes import descendants
from substitute.probing.endpoints import Sockets
from tests.contracts.strict_client import accepts
from tests.e2e.site import Site, fetch
from tests.e2e.test_passive import gate, nginx
from tests.e2e.traffic import under_load
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

PYTHON = [sys.executable, "-S", "-E", "app.py"]


@pytest.fixture(params=["passive", pytest.param("haproxy", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    (tmp_path / "live").mkdir()
    subprocess.run(["git", "clone", "--quiet", made.repository.directory, tmp_path / "live"], check=True)
    yield made
    made.close()


def listens(port: int) -> bool:
    return Sockets().holder(Endpoint("127.0.0.1", port)) is not None


@contextmanager
def running(site: Site, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The app, started by hand."""
    process = subprocess.Popen(
        PYTHON, cwd=site.root.parent / "live", env={**os.environ, "PORT": str(port)}, start_new_session=True
    )
    try:
        eventually(lambda: listens(port), "it listens")
        yield process
    finally:
        process.kill()
        process.wait()


def deployed_over(site: Site, kind: str, gone: Callable[[], bool]) -> None:
    """Adopt what runs, deploy over it, and see that no request failed, and that the old one is gone and stays so."""
    if kind == "haproxy":
        adopted_and_replaced(
            site, gone, under_way=lambda: site.run("deploy"), before=lambda: site.run("adopt")
        )
    else:
        site.balancer = 'kind = "passive"\ngate = "nft"'
        site.configure()
        with nginx(site, site.root.parent):
            adopted_and_replaced(
                site, gone, under_way=lambda: (site.run("adopt"), site.run("deploy")), before=lambda: None
            )
            site.run("down")


def adopted_and_replaced(
    site: Site, gone: Callable[[], bool], *, under_way: Callable[[], object], before: Callable[[], object]
) -> None:
    site.repository.commit("2")
    before()
    assert under_load(site, under_way) == {"1", "2"}
    site.assert_only_serves("b")
    assert gone()
    site.run("rollback")  # its commit was known, so it is built here, in a slot that had no files
    site.assert_only_serves("a")
    assert site.app()["slots"]["a"]["adopted"] is None


def test_a_process_that_nothing_keeps(site: Site, kind: str) -> None:
    with running(site, site.ports[0]) as process:
        deployed_over(site, kind, lambda: process.poll() is not None)


def test_behind_haproxy_it_may_run_on_a_port_of_its_own(site: Site) -> None:
    port, site.ports = site.ports[0], (site.ports[1], free_port())
    site.configure()
    with running(site, port) as process:
        told = site.run("adopt", str(port)).stdout
        assert f"proxy_pass http://127.0.0.1:{site.port};" in told
        slot = site.app()["slots"]["a"]
        assert (slot["state"], slot["port"], slot["pid"]) == ("live", port, process.pid)
        assert slot["adopted"] == "a process that nothing keeps"
        assert slot["commit"] == site.repository.head()
        assert "live already" in site.run("adopt", exit_status=2).stderr
        assert "built elsewhere" in site.run("rollback", exit_status=2).stderr
        assert under_load(site, lambda: site.run("up")) == {"1"}
    assert "cannot be started here" in site.run("up", exit_status=4).stderr
    site.run("deploy")
    site.assert_only_serves("b")
    site.repository.commit("2")
    site.run("deploy")
    assert site.app()["slots"]["a"]["port"] in site.ports


def test_behind_haproxy_one_line_of_the_users_nginx_moves(site: Site) -> None:
    front, file = free_port(), site.root.parent / "nginx.conf"
    site.balancer = f'listen = "127.0.0.1:{front}"'
    site.configure()
    with running(site, site.ports[0]) as process, nginx(site, site.root.parent) as server:
        assert f"proxy_pass http://127.0.0.1:{front};" in site.run("adopt").stdout
        site.repository.commit("2")

        def too_early() -> None:
            told = site.run("deploy", exit_status=2).stderr
            assert "No request has come to shop through the balancer yet" in told
            fetch(f"http://127.0.0.1:{front}/")
            told = site.run("deploy", exit_status=2).stderr
            assert f"The adopted app on port {site.ports[0]} still gets connections" in told

        assert under_load(site, too_early) == {"1"}
        assert process.poll() is None
        file.write_text(file.read_text().replace("http://my_app", f"http://127.0.0.1:{front}"))
        before = descendants(server.pid)
        server.send_signal(signal.SIGHUP)
        eventually(lambda: descendants(server.pid).isdisjoint(before), "nginx has reloaded")
        assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
        site.assert_only_serves("b")
        assert process.poll() is not None


def test_behind_haproxy_what_still_gets_requests_directly_is_not_stopped_and_up_does_so_later(
    site: Site,
) -> None:
    site.configure(more='[app.shop.verify]\nfor = "2s"\n[app.shop.drain]\ntimeout = "1s"\n')
    with running(site, site.ports[0]) as process:
        site.run("adopt")
        fetch(site.url)
        site.repository.commit("2")
        with site.popen("deploy", "--json") as deploy:
            assert deploy.stdout
            assert any(json.loads(line).get("phase") == "verify" for line in deploy.stdout)
            with Load(f"http://127.0.0.1:{site.ports[0]}/", connections=1, pause=0.01) as directly:
                told = deploy.stdout.read()
                report = directly.stop()
        assert deploy.returncode == 0
        assert "do not come from the balancer" in told
        assert report.failures == []
        assert fetch(site.url) == "version 2\n"
        assert process.poll() is None
        site.run("up")
        assert process.wait(30) is not None
        site.assert_only_serves("b")


def test_what_cannot_be_adopted_is_refused_and_left_alone(site: Site) -> None:
    assert "neither" in site.run("adopt", exit_status=2).stderr
    port, ports, site.ports = site.ports[0], site.ports, (site.ports[1], free_port())
    with running(site, port) as process:
        site.balancer = 'kind = "passive"\ngate = "nft"'
        site.configure()
        assert f"ports = [{port}, " in site.run("adopt", str(port), exit_status=2).stderr
        site.ports = ports
        site.configure(more='[app.shop.health]\npath = "/stream?x"\n')
        refused = site.run("adopt", exit_status=1).stderr
        assert "does not pass the health check" in refused
        assert process.poll() is None
        assert gate(site) == ""
    assert site.app()["live"] is None


def state_of(unit: Path) -> str:
    return subprocess.run(
        ["systemctl", "is-active", unit.stem], capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.machine
def test_a_unit_of_systemds_that_is_always_started_again(site: Site, kind: str) -> None:
    unit = Path("/run/systemd/system/shop-by-hand.service")
    unit.parent.mkdir(exist_ok=True)
    unit.write_text(
        f"[Service]\nExecStart={' '.join(PYTHON)}\nWorkingDirectory={site.root.parent / 'live'}\n"
        f"Environment=PORT={site.ports[0]}\nRestart=always\nRestartSec=50ms\n"
    )
    site.runtime = "systemd"
    site.configure()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", unit.stem], check=True)
    eventually(lambda: accepts(Endpoint("127.0.0.1", site.ports[0])))
    try:
        if kind == "haproxy":  # it is known again after a crash, and after down and up
            site.run("adopt")
            subprocess.run(["systemctl", "kill", "-s", "KILL", unit.stem], check=True)
            site.run("up")
            site.run("down")
            assert not listens(site.ports[0])
            site.run("up")
            site.repository.commit("2")
            assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
            site.assert_only_serves("b")
            assert "inactive" in state_of(unit)
        else:
            deployed_over(site, kind, lambda: "inactive" in state_of(unit))
    finally:
        subprocess.run(["systemctl", "stop", unit.stem], check=False)


@pytest.mark.long
def test_an_app_that_a_supervisord_of_the_users_keeps(site: Site, tmp_path: Path) -> None:
    """It would be started again at once, but is not."""
    programs = Path(sys.executable).parent
    site.runtime = "supervisord"
    file = tmp_path / "own.conf"
    file.write_text(
        f"[supervisord]\npidfile={tmp_path}/own.pid\nlogfile={tmp_path}/own.log\n"
        f"[unix_http_server]\nfile={tmp_path}/own.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[program:web]\ncommand={' '.join(PYTHON)}\ndirectory={tmp_path / 'live'}\n"
        f"environment=PORT={site.ports[0]}\nautorestart=true\n"
    )
    keeper = subprocess.Popen([programs / "supervisord", "-n", "-c", file], stdout=subprocess.DEVNULL)
    control = [str(programs / "supervisorctl"), "-s", f"unix://{tmp_path}/own.sock", "status", "web"]
    try:
        eventually(lambda: listens(site.ports[0]))

        def stopped() -> bool:
            return "STOPPED" in subprocess.run(control, capture_output=True, text=True, check=False).stdout

        deployed_over(site, "haproxy", stopped)
    finally:
        keeper.terminate()
        keeper.wait()


@pytest.fixture(scope="session")
def pm2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, of npm's."""
    prefix = tmp_path_factory.mktemp("pm2")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(prefix), "pm2@6"]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip("npm has no pm2")
    return str(prefix / "node_modules" / ".bin")


@pytest.mark.long
@pytest.mark.parametrize("mode", ["fork", "cluster"])
def test_an_app_that_pm2_keeps(site: Site, pm2: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live = site.root.parent / "live"
    monkeypatch.setenv("PM2_HOME", str(site.root.parent / "pm2"))
    monkeypatch.setenv("PATH", f"{pm2}:{os.environ['PATH']}")
    (live / "web.js").write_text(WEB)
    how = ["-i", "2"] if mode == "cluster" else []
    subprocess.run(
        ["pm2", "start", "web.js", "--name", "web", *how],
        cwd=live,
        env={**os.environ, "PORT": str(site.ports[0])},
        check=True,
        capture_output=True,
    )
    try:
        eventually(lambda: accepts(Endpoint("127.0.0.1", site.ports[0])))
        deployed_over(site, "passive", lambda: "stopped" in described())
    finally:
        subprocess.run(["pm2", "kill"], check=True, capture_output=True)


def described() -> str:
    return subprocess.run(["pm2", "jlist"], check=True, capture_output=True, text=True).stdout


WEB = """
const server = require('http').createServer((request, response) => {
  const body = []
  request.on('data', part => body.push(part)).on('end', () => {
    response.setHeader('X-Version', '1')
    response.end(request.method === 'POST' ? Buffer.concat(body) : 'version 1\\n')
  })
})
server.keepAliveTimeout = 60000
server.listen(process.env.PORT, '127.0.0.1')
process.on('SIGINT', () => server.close(() => process.exit()))
"""
