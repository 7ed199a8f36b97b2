"""Measures how many requests a second the embedded HAProxy carries, beside nginx with kept connections to the same app.

It writes a table of docs/balancers.md.

    python -m bench.front_door [ROUNDS [SECONDS]]

In turns, with wrk: 32 connections, GET. The processors are shared with the app and with wrk, so only the ratios mean
something. On a busy machine the processor time that the front needs for a request is the better measure. With
KAMAL_PROXY=PROGRAM in the environment kamal-proxy is measured too.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contracts import haproxies, nginxes
from tests.contracts.balanced_site import A, Site, site_in
from tests.contracts.strict_client import accepts
from tests.ports import free_port
from tests.waiting import eventually

from bench import pages
from substitute.core.model.slots import Endpoint
from substitute.linux import listeners
from substitute.linux.listeners import sockets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = """
const answer = Buffer.from('hello\\n')
require('http').createServer((request, response) => { request.resume(); response.end(answer) })
  .listen(+process.argv[1], '127.0.0.1')
"""
NGINX = """
worker_processes 2; daemon off; pid nginx.pid; error_log error.log;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    upstream app {{ server {app}; keepalive 64; }}
    server {{ listen {listen}; location / {{ proxy_pass http://app; proxy_http_version 1.1;
        proxy_set_header Connection ""; proxy_set_header Host $host; }} }}
}}
"""
CONNECTIONS = 32
HEAD = "| in front | requests/s | times nginx | processor time of a request |\n|---|---|---|---|\n"


def main(rounds: int, seconds: int) -> None:
    """Measure each in turn, and write medians and their ratios to nginx's."""
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place, ExitStack() as stack:
        app = Endpoint("127.0.0.1", free_port())
        stack.enter_context(running(["node", "-e", APP, str(app.port)], app))
        fronts = {"nginx": stack.enter_context(_nginx(Path(place), app))}
        for number, (name, kind) in enumerate(haproxies.KINDS.items()):
            site: Site = stack.enter_context(site_in(Path(place) / str(number), kind))
            site.endpoints[A] = app
            site.route(100, 0)
            fronts[name] = site.listen
        if program := os.environ.get("KAMAL_PROXY"):
            proxy = KamalProxy(program, Path(place))
            stack.enter_context(proxy.running())
            proxy.deploy(app)
            fronts["kamal-proxy"] = proxy.listen
        counted: dict[str, list[float]] = {name: [] for name in fronts}
        pids = {name: _pids(listen) for name, listen in fronts.items()}
        used: dict[str, list[float]] = {name: [] for name in fronts}
        for _ in range(rounds):
            for name, listen in fronts.items():
                before = _processor_time(pids[name])
                counted[name].append(_wrk(listen, seconds))
                used[name].append((_processor_time(pids[name]) - before) / counted[name][-1] / seconds)
    nginx = statistics.median(counted["nginx"])
    rows = []
    for name, found in counted.items():
        middle = statistics.median(found)
        each = 1e6 * min(used[name])  # whatever else runs adds to it
        rows.append(f"| {name} | {middle:,.0f} | {middle / nginx:.2f} | {each:.0f} \u00b5s |\n")
    how = (
        f"Medians of {rounds} turns of {seconds} s each, GET, {CONNECTIONS} connections of wrk, which shares the "
        "processors with\nthe app and the front; of the processor time the least."
    )
    note = pages.measured(how, f"front_door {rounds} {seconds}")
    pages.write("balancers.md", HEAD + "".join(rows) + note, mark="front door")


@contextmanager
def running(command: list[str], listen: Endpoint, **environment: str) -> Iterator[None]:
    """A program that listens there, for as long as it is needed."""
    with subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: accepts(listen))
            yield
        finally:
            process.terminate()


@contextmanager
def _nginx(place: Path, app: Endpoint) -> Iterator[Endpoint]:
    listen = Endpoint("127.0.0.1", free_port())
    (place / "nginx.conf").write_text(NGINX.format(app=app, listen=listen))
    binary = nginxes.binaries()["nginx of the system"]
    with running([binary, "-p", str(place), "-c", "nginx.conf"], listen):
        yield listen


class KamalProxy:
    """The proxy of Kamal, for one app."""

    def __init__(self, program: str, place: Path) -> None:
        self._program = program
        self._home = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"), str(place))
        self.listen = Endpoint("127.0.0.1", free_port())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run."""
        ports = ["--http-port", str(self.listen.port), "--https-port", str(free_port())]
        with running([self._program, "run", *ports], self.listen, **self._home):
            yield

    def deploy(self, app: Endpoint) -> None:
        """Lead it to `app` once that answers; return when the one before has finished its requests."""
        command = [self._program, "deploy", "bench", "--target", str(app), "--health-check-path", "/"]
        subprocess.run(command, check=True, env=os.environ | self._home, capture_output=True)


def _pids(listen: Endpoint) -> list[int]:
    """Those of the processes that listen there."""
    inodes = {one.inode for one in listeners.on(listen)}
    every = (int(one.name) for one in Path("/proc").glob("[0-9]*"))
    return [pid for pid in every if not sockets_of(pid).isdisjoint(inodes)]


def _processor_time(pids: list[int]) -> float:
    """Seconds that they have used."""
    threads = (one for pid in pids for one in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def _wrk(listen: Endpoint, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://{listen}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec: +([\d.]+)", said)
    if not found or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(said)
    return float(found[1])


if __name__ == "__main__":
    main(*(int(given) for given in [*sys.argv[1:], *("5", "3")[len(sys.argv) - 1 :]]))
