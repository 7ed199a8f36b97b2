"""HAProxy's configuration: the whole file and its map, and what of them only a reload changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy import assets, checks, names, sections
from substitute.core.model.slots import SlotName
from substitute.io.digest import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.balancers.haproxy.settings import Settings
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend


def leads(backends: Sequence[Backend]) -> dict[str, str]:
    """What `MAP` holds: a backend for each domain, and for those that are nobody's.

    The slot that each token of a preview leads to. And for each backend whose slots share the requests, what a
    client is drawn with, the percentage that goes to slot b, and the slot whose version is new.
    """
    found = _hosts(backends)
    for backend in backends:
        name = names.of_backend(backend)
        if preview := backend.preview:
            found[names.PREVIEWED] = "any"
            found[names.PREVIEWED + preview.token] = f"{name}/{preview.slot}"
        shares = {server.slot: server.share for server in backend.servers}
        if all(shares.get(slot) for slot in SlotName):
            found[names.SHARED + name] = f"{backend.draw}:{shares[SlotName.B]}:{backend.candidate or ''}"
    return found


def _hosts(backends: Sequence[Backend]) -> dict[str, str]:
    default = next((backend for backend in backends if not backend.domains), None)
    found = {domain.lower(): names.of_backend(backend) for backend in backends for domain in backend.domains}
    return {**found, **({names.NOBODYS: names.of_backend(default)} if default else {})}


def render_map(backends: Sequence[Backend]) -> str:
    """The file `MAP`."""
    return "".join(f"{host} {app}\n" for host, app in leads(backends).items())


def structure(settings: Settings, backends: Sequence[Backend], earlier: Sequence[str] = ()) -> str:
    """A name for all that only a reload changes: not for weights, domains and addresses."""
    text = _render(settings, backends, earlier, description="none", adjustable=False)
    return "substitute-" + sha256(text.encode())[:16]


def render(settings: Settings, backends: Sequence[Backend], earlier: Sequence[str] = ()) -> str:
    """The whole file. A HAProxy that (re)starts from it serves by the shares in `backends`.

    It listens at the addresses `earlier` too.
    """
    named = structure(settings, backends, earlier)
    return _render(settings, backends, earlier, description=named, adjustable=True)


def placed(backend: Backend) -> Iterator[tuple[tuple[str, str], tuple[Endpoint, int]]]:
    """Each of its servers in HAProxy, by the names of its backend and its own: its address, and its weight there."""
    for name, server in names.of_servers(backend):
        yield (names.of_backend(backend), name), (server.endpoint, server.share)
        yield (names.of_backend(backend) + names.KEPT, name), (server.endpoint, 0)
        if backend.assets:
            last = 100 if backend.spare not in {None, server.slot} else 0
            yield (names.of_backend(backend) + names.OF_OTHER[server.slot], name), (server.endpoint, 0)
            yield (names.of_backend(backend) + names.OF_LAST, name), (server.endpoint, last)
    if backend.hold or checks.among(backend):
        yield (names.of_backend(backend), names.WAIT), (names.NOWHERE, int(checks.waits(backend)))
    if backend.assets and checks.among(backend):
        key = names.of_backend(backend) + names.OF_LAST, names.WAIT
        yield key, (names.NOWHERE, int(backend.spare is not None))


def _render(
    settings: Settings,
    backends: Sequence[Backend],
    earlier: Sequence[str],
    *,
    description: str,
    adjustable: bool,
) -> str:
    lines = [
        "# Written by substitute; it is replaced at every switch.",
        *sections.for_all(settings, description),
        *sections.front(settings, backends, assets.rules(backends)),
        *sections.pause(),
        *sections.fallbacks(earlier),
        *assets.tried_twice(),
    ]
    for backend in backends:
        lines += sections.backend_without_reuse(backend, adjustable=adjustable)
        lines += sections.backend_with_reuse(backend, keep=settings.keep_connections, adjustable=adjustable)
        if backend.assets:
            lines += assets.others(backend, adjustable=adjustable)
            lines += assets.last(backend, adjustable=adjustable)
    return "\n".join(lines) + "\n"
