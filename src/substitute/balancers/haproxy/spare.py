"""The backends of an app that look for an asset which there was not: in the spare slot, then in the other.

Which slot that is changes at a switch, and a request may be between the two then. So it is decided once, by the
backend that a request comes to; a socket for each slot leads on from there, and none is asked twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy.names import LAST, OF_LAST, OF_OTHER, of_backend, of_servers
from substitute.balancers.haproxy.sections import choice, passing_on, server, telling
from substitute.core.model.slots import SlotName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports.balancer import Backend

_ASSET_SECONDS = 10
"""How long who may have an asset may be silent: nobody waits longer for a version that hangs, and gets no requests."""


def others(backend: Backend, *, adjustable: bool) -> Iterator[str]:
    """The backends that ask the spare slot for an asset, one for each that may be spare; they lead on to `last`.

    None is ever asked for anything else.
    """
    for slot in SlotName:
        mine = [(name, each) for name, each in of_servers(backend) if each.slot is slot]
        yield from (
            f"backend {of_backend(backend)}{OF_OTHER[slot]}",
            "    retry-on conn-failure empty-response response-timeout 404",
            "    option redispatch 1",
            "    retries 1",
            f"    timeout server {_ASSET_SECONDS}s",
            *passing_on(to="last"),
            *choice(backend, "always_true", of=slot),
            *(server(name, each.endpoint, 0, adjustable=adjustable) for name, each in mine),
            f"    server last unix@/proc/self/cwd/{LAST[slot.other]} send-proxy-v2 pool-max-conn 0",
        )


def last(backend: Backend, *, adjustable: bool) -> Iterator[str]:
    """The backend that asks the slot that is not spare, whose answer counts; nobody is spare while none has weight.

    A request that was on its way when that changed is led to the slot that it was not in, whatever the weights are.
    """
    yield from (
        f"backend {of_backend(backend)}{OF_LAST}",
        "    balance roundrobin",
        *telling(name=" ".join(f"last_{slot}" for slot in SlotName)),
    )
    for slot in SlotName:
        yield from choice(backend, f"so_name last_{slot}", of=slot)
    for name, each in of_servers(backend):
        weight = 0 if backend.spare in {None, each.slot} else 100
        yield server(name, each.endpoint, weight, adjustable=adjustable)
