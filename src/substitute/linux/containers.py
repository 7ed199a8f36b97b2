"""From a process to its container: which one it runs in, or listens for, by control group and command line."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.linux import processes

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

_CONTAINER = re.compile(r"\b(docker|libpod)[-/]([0-9a-f]{64})")
"""In a cgroup: ``docker-<id>.scope`` where systemd makes them, ``/docker/<id>`` where the engine does."""
_ENGINES = {"docker": "docker", "libpod": "podman"}
UNIT_LABEL = '{{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}'
"""What `podman inspect` is asked for the unit of a container that systemd starts (Quadlet has one)."""
_PROXY = "docker-proxy"
"""It holds a published port outside the container: one process for IPv4, and one for IPv6."""
_DAEMON = "dockerd"
_RESERVES = "conmon"
"""Podman's watchman of one container, which holds its published ports."""
_OF_MANY = frozenset(
    {"dockerd", "containerd", "rootlesskit", "rootlessport", "slirp4netns", "pasta", "pasta.avx2"}
)
"""What holds ports for containers, and does not say for which."""


def container_in(cgroup: str) -> tuple[str, str] | None:
    """The engine and the id of the container that has this text in ``/proc/PID/cgroup``."""
    found = _CONTAINER.search(cgroup)
    return (_ENGINES[found[1]], found[2]) if found else None


def container_of(pid: int, port: int) -> tuple[str, str] | None:
    """The engine, and the filter of its `ps` for the container that `pid` runs in, or whose `port` it holds."""
    words = processes.command_line(pid)
    if processes.name(pid) == _PROXY:
        return "docker", f"publish={port}"
    if processes.name(pid) == _RESERVES and "-c" in words[:-1]:
        return "podman", f"id={words[words.index('-c') + 1]}"
    with suppress(OSError):
        if found := container_in(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")):
            return found[0], f"id={found[1]}"
    return None


def proxies_like(pid: int) -> set[int]:
    """Those that hold published ports for the container that `pid` runs in.

    For a proxy itself: those that hold the same port of the same container, on another address; none for another.
    Of the first process of a container of Podman's it is the watchman.
    """
    above = processes.parent(pid)
    if above and processes.name(above) == _RESERVES:
        return {above}
    if processes.name(pid) != _PROXY:
        return _proxies_to(addresses_of(pid)) if is_elsewhere(pid) else set()
    port = _published(pid)
    return {
        other
        for other in processes.children(processes.parent(pid) or 1)
        if processes.name(other) == _PROXY and _published(other) == port
    }


def is_elsewhere(pid: int) -> bool:
    """Whether it is on a network of its own, and not on this machine's. What can't be seen is not."""
    with suppress(OSError):
        here, there = (os.stat(f"/proc/{one}/ns/net").st_ino for one in ("self", pid))  # noqa: PTH116
        return here != there
    return False


def addresses_of(pid: int) -> set[str]:
    """The addresses of the network that `pid` is on, but for those that every network has."""
    found = set()
    with suppress(OSError):
        table = Path(f"/proc/{pid}/net/fib_trie").read_text(encoding="ascii")
        found |= set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", table))
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/net/if_inet6").read_text(encoding="ascii").splitlines():
            found.add(str(IPv6Address(int(line.split()[0], 16))))
    return {address for address in found if not address.startswith(("127.", "fe80:")) and address != "::1"}


def _proxies_to(addresses: set[str]) -> set[int]:
    """A user's program that calls itself so is none: dockerd starts them."""
    return {
        pid
        for pid in processes.every()
        if processes.name(pid) == _PROXY
        and _published(pid).get("-container-ip") in addresses
        and processes.program(processes.parent(pid) or 1) in {_DAEMON, ""}
        and 0 in processes.users(processes.parent(pid) or 1)
    }


def first_process(container: str) -> Process | None:
    """The first process in the control group of the container with this id, which started the others, if any runs."""
    return processes.first_of(
        one for pid in processes.every() if _is_in(pid, container) and (one := processes.identify(pid))
    )


def main_process(name: str, noted: Path) -> Process | None:
    """The first process of the container that Podman calls `name`, where its watchman runs, as who asks.

    It is the child of the watchman's that has a number of its own inside; `noted` is the file in which Podman noted it
    last. Where that is gone, all processes are looked through. It is the program once it `is_executed`.
    """
    try:
        pids = {int(noted.read_text(encoding="ascii"))}
    except (OSError, ValueError):
        watchmen = [pid for pid in processes.every() if _watches(pid, name)]
        pids = {child for watchman in watchmen for child in processes.children(watchman) if is_apart(child)}
    for pid in pids:
        found = processes.identify(pid)
        if found and _watches(processes.parent(pid), name):
            return found
    return None


def is_watched(pid: int) -> bool:
    """Whether it is the first process of a container of Podman's, or the watchman of one."""
    return any(processes.name(one) == _RESERVES for one in (pid, processes.parent(pid)) if one)


def is_executed(process: Process) -> bool:
    """Whether the first process of a container of Podman's is what it was made for, and no more who makes it."""
    watchman = processes.parent(process.pid)
    maker = _argument(processes.command_line(watchman), "-r") if watchman else ""
    return processes.name(process.pid) != Path(maker).name


def client_of(engine: str, name: str) -> int | None:
    """The command that runs the container `name` in its foreground, as a unit of systemd's does it, if one does."""
    for pid in processes.every():
        words = processes.command_line(pid)
        if (
            processes.name(pid) == engine
            and {"run", "start"} & set(words[1:4])
            and {name, f"--name={name}"} & set(words)
        ):
            return pid
    return None


def of_many(pid: int) -> bool:
    """Whether it holds ports for containers of whom it does not say which."""
    return processes.name(pid) in _OF_MANY


def is_apart(pid: int) -> bool:
    """Whether it runs in a container of whatever kind: it does not see the processes that run here."""
    with suppress(OSError):
        here, there = (os.stat(f"/proc/{one}/ns/pid").st_ino for one in ("self", pid))  # noqa: PTH116
        return here != there
    return False


def _is_in(pid: int, container: str) -> bool:
    with suppress(OSError):
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    return False


def _watches(pid: int | None, name: str) -> bool:
    """Whether `pid` is the watchman of the container that Podman calls `name`, and of the user who asks."""
    words = processes.command_line(pid) if pid else []
    return (
        bool(words)
        and Path(words[0]).name == _RESERVES
        and _argument(words, "-n") == name
        and processes.users(pid or 0) == {os.geteuid()}
    )


def _argument(words: list[str], option: str) -> str:
    """What follows `option`; empty where nothing does."""
    return next((value for word, value in pairwise(words) if word == option), "")


def _published(pid: int) -> dict[str, str]:
    words = processes.command_line(pid)
    given = dict(zip(words[1::2], words[2::2], strict=False))
    return {key: value for key, value in given.items() if key != "-host-ip"}
