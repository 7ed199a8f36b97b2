"""How an asset is looked for which the version that was asked does not have: in the spare slot, then in the other.

Which slot that is changes at a switch, and a request may be between the two then. So it is decided once, by the
backend that a request comes to; a socket for each slot leads on from there, and none is asked twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy import checks
from substitute.balancers.haproxy.names import (
    ASSETS,
    LASTS,
    OF_LAST,
    OF_OTHER,
    ONWARD,
    of_backend,
    of_servers,
)
from substitute.balancers.haproxy.sections import (
    MOST_COPIES,
    REPEATABLE,
    choice,
    passing_on,
    server,
    telling,
    waiting,
)
from substitute.core.model.slots import SlotName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.core.ports.balancer import Backend

_ASSET_SECONDS = 10
"""How long who may have an asset may be silent: nobody waits longer for a version that hangs, and gets no requests."""


def tried_twice() -> list[str]:
    """Where a request for an asset is tried twice: as any other; and where that found nothing, once more."""
    return [
        f"backend {ASSETS}",
        "    retry-on conn-failure 404",
        "    option redispatch 1",
        "    retries 1",
        f"    http-request disable-l7-retry if {{ be_conn gt {MOST_COPIES} }}",
        "    use-server whoever if TRUE",
        f"    server whoever unix@/proc/self/cwd/{ONWARD['whoever']} weight 0 send-proxy-v2 pool-max-conn 0",
        f"    server other unix@/proc/self/cwd/{ONWARD['other']} send-proxy-v2 pool-max-conn 0",
    ]


def rules(backends: Sequence[Backend]) -> list[str]:
    """Those of the front: for apps that have assets, while there are two slots to ask."""
    lines = []
    for backend in (each for each in backends if each.assets and each.servers):
        name = of_backend(backend)
        # A line each: HAProxy reads 64 words of one at most.
        lines += [f"    acl assets_of_{name} path -m beg {path}" for path in backend.assets]
        of_two = f"{{ var(txn.app) -m str {name} }} {{ nbsrv({name}{OF_LAST}) gt 0 }}"
        lines.append(
            f"    use_backend {ASSETS} if {of_two} assets_of_{name} {{ method GET HEAD }} {REPEATABLE}"
            f" !{{ so_name whoever again other {' '.join(LASTS.values())} }}"
        )
        name_of_first, first = next(of_servers(backend))
        is_spare = f"{{ srv_weight({name}{OF_LAST}/{name_of_first}) eq 0 }}"
        lines += [
            f"    use_backend {name}{OF_OTHER[first.slot]} if {{ so_name other }} {of_two} {is_spare}",
            f"    use_backend {name}{OF_OTHER[first.slot.other]} if {{ so_name other }} {of_two}",
        ]
    if lines:
        lines.append(f"    use_backend %[var(txn.app)]{OF_LAST} if {{ so_name {' '.join(LASTS.values())} }}")
    return lines


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
            *checks.kept_alive(backend),
            *(
                server(name, each.endpoint, 0, checks.following(backend, name, each), adjustable=adjustable)
                for name, each in mine
            ),
            f"    server last unix@/proc/self/cwd/{ONWARD[LASTS[slot.other]]} send-proxy-v2 pool-max-conn 0",
        )


def last(backend: Backend, *, adjustable: bool) -> Iterator[str]:
    """The backend that asks the slot that is not spare, whose answer counts; nobody is spare while none has weight.

    A request that was on its way when that changed is led to the slot that it was not in, whatever the weights are.
    """
    yield from (
        f"backend {of_backend(backend)}{OF_LAST}",
        *checks.balance(backend),
        *checks.kept_alive(backend),
        *telling(name=" ".join(LASTS.values())),
    )
    if checks.among(backend):
        yield from checks.drawn(backend, lambda _, slot: f"so_name {LASTS[slot]}")
    else:
        for slot in SlotName:
            yield from choice(backend, f"so_name {LASTS[slot]}", of=slot)
    for name, each in of_servers(backend):
        weight = 0 if backend.spare in {None, each.slot} else 100
        more = checks.following(backend, name, each)
        yield server(name, each.endpoint, weight, more, adjustable=adjustable)
    if checks.among(backend):
        yield from waiting(waits=backend.spare is not None, adjustable=adjustable)
