"""The file that HAProxy was last started or reloaded from, with other weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy import file
from substitute.balancers.haproxy.configuration import placed
from substitute.balancers.haproxy.names import OF_LAST, of_backend, of_servers
from substitute.balancers.haproxy.sections import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.ports.balancer import Backend


def adjusted(text: str, backends: Sequence[Backend]) -> str:
    """The same file with the weights and addresses of `backends`, as far as a running HAProxy takes them."""
    wanted = {key: server for backend in backends for key, server in placed(backend)}
    lines = []
    for section, line in file.lines(text):
        its = file.SERVER.fullmatch(line)
        if its:
            address, weight = its[2], 0
            if server := wanted.get((section, its[1])):
                endpoint, weight = server
                if is_address(endpoint.host) and is_address(address.rpartition(":")[0].strip("[]")):
                    address = str(endpoint)
            lines.append(f"    server {its[1]} {address} weight {weight}{its[4] or ''}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def serves(text: str, backends: Sequence[Backend]) -> bool:
    """Whether it gives each of `backends` the shares that it is to have.

    The backends for assets are not looked at: one that is missing fails no request.
    """
    there, checked = file.servers(text), file.checked(text)
    return all(
        there.get(key) == (str(endpoint), weight)
        for backend in backends
        for key, (endpoint, weight) in placed(backend)
        if weight and not key[0].endswith(OF_LAST)
    ) and all(
        (of_backend(backend), name) in checked
        for backend in backends
        for name, server in of_servers(backend)
        if server.share and server.checked
    )
