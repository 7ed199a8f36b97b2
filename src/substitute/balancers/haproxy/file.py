"""What the file says that HAProxy was last started or reloaded from, and the same file with other weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.configuration import placed
from substitute.balancers.haproxy.names import EARLIER, MAP, OF_LAST
from substitute.balancers.haproxy.sections import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.core.ports.balancer import Backend

Servers = dict[tuple[str, str], tuple[str, int]]
"""Address and weight of each server, by its backend's name and its own."""
_SERVER = re.compile(r" +server (\S+) (\S+) weight (\d+)( backup)?")


def description(text: str) -> str:
    """The name of its structure."""
    found = re.search(r"^ +description (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def servers(text: str) -> Servers:
    """Those of the apps."""
    return {
        (section, found[1]): (found[2], int(found[3]))
        for section, line in _lines(text)
        if (found := _SERVER.fullmatch(line))
    }


def apps(text: str) -> set[str]:
    """Those that have a backend. No app's name has an underscore; those of its further backends do."""
    found = {section[4:] for section, _ in _lines(text) if section.startswith("app_")}
    return {name for name in found if "_" not in name}


def listen(text: str) -> str:
    """Where the front door is, or empty."""
    return next(iter(_binds(text, "front")), "")


def earlier(text: str) -> tuple[str, ...]:
    """Where it listens besides, since it was there before."""
    return tuple(_binds(text, EARLIER))


def hard_stop(text: str) -> int:
    """Seconds after which a worker of the first version, once replaced, ends, whatever it still does."""
    found = re.search(r"^ +hard-stop-after (\d+)s$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def leads_by_map(text: str) -> bool:
    """Whether domains can be changed at run time: not in a file of the first version."""
    return f"map({MAP})" in text


def adjusted(text: str, backends: Sequence[Backend]) -> str:
    """The same file with the weights and addresses of `backends`, as far as a running HAProxy takes them."""
    wanted = {key: server for backend in backends for key, server in placed(backend)}
    lines = []
    for section, line in _lines(text):
        found = _SERVER.fullmatch(line)
        if found:
            address, weight = found[2], 0
            if server := wanted.get((section, found[1])):
                endpoint, weight = server
                if is_address(endpoint.host) and is_address(address.rpartition(":")[0].strip("[]")):
                    address = str(endpoint)
            lines.append(f"    server {found[1]} {address} weight {weight}{found[4] or ''}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def serves(text: str, backends: Sequence[Backend]) -> bool:
    """Whether it gives each of `backends` the shares that it is to have. Nobody fails without `assets`."""
    there = servers(text)
    return all(
        there.get(key) == (str(endpoint), weight)
        for backend in backends
        for key, (endpoint, weight) in placed(backend)
        if weight and not key[0].endswith(OF_LAST)
    )


def _binds(text: str, wanted: str) -> Iterator[str]:
    for section, line in _lines(text):
        words = line.split()
        if section == wanted and words[0] == "bind" and not words[1].startswith("unix@"):
            yield words[1]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line with the name of the section that it stands in."""
    section = ""
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            section = line.partition(" ")[2]
        yield section, line
