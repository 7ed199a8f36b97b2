"""The embedded balancer: an HAProxy of the root's own, run by its runtime, switched through its runtime socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from substitute.balancers.haproxy import file, leaving
from substitute.balancers.haproxy import program as haproxy
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.configuration import leads, render, render_map, structure
from substitute.balancers.haproxy.daemon import Daemon
from substitute.balancers.haproxy.names import EARLIER, PREVIEW_PATH
from substitute.balancers.haproxy.settings import Settings
from substitute.balancers.haproxy.socket import Absent, Hung, Silent
from substitute.core.model.errors import BalancerError, RuntimeFailedError, UnobservedError
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy.access_log import AccessLog
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend, Traffic
    from substitute.core.ports.runtime import Runtime

_MOMENT = 1.0
_TICK = 0.005
_UNUSED = 60
"""Seconds without a client after which an address is given up that `balancer.listen` named before."""


class Configured(Protocol):
    """The table ``[balancer]``."""

    @property
    def listen(self) -> str: ...  # noqa: D102
    @property
    def binary(self) -> str | None: ...  # noqa: D102
    @property
    def client_timeout(self) -> float: ...  # noqa: D102
    @property
    def server_timeout(self) -> float: ...  # noqa: D102
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def keep_connections(self) -> bool: ...  # noqa: D102


def connect(root: Path, runtime: Runtime, settings: Configured, warn: Callable[[str], None]) -> HAProxy:
    """Make the balancer of `root`."""
    del warn
    return HAProxy(
        root / "deploy" / "run",
        runtime,
        Settings(
            listen=settings.listen,
            binary=settings.binary,
            client_timeout=settings.client_timeout,
            server_timeout=settings.server_timeout,
            trusted_proxies=tuple(settings.trusted_proxies),
            keep_connections=getattr(settings, "keep_connections", True),  # an earlier version noted none
        ),
    )


class HAProxy:
    """See `core.ports.balancer.Balancer`."""

    def __init__(self, run_directory: Path, runtime: Runtime, settings: Settings) -> None:
        self._run = run_directory
        self._runtime = runtime
        self._settings = settings
        self._daemon = Daemon(run_directory, runtime, settings)

    def route(self, backends: Sequence[Backend]) -> None:
        """The file first, so that a restart at any moment obeys too; then the running worker; then read back.

        What its worker runs by is asked of it (`description`), so a command that was killed half-way leaves
        nothing that the next does not notice. One that crashes meanwhile comes back, and is told again.
        """
        self._daemon.patiently(lambda: self._route(backends))

    def pending(self, backends: Sequence[Backend]) -> str:
        """An app that is new to it, and what changed in ``[balancer]`` or in ``assets``."""
        written = self._daemon.written()
        try:
            running = api.description(self._run)
            earlier = self._earlier(written)
        except Silent:  # `route` starts it, or says what is wrong
            return ""
        chosen = _chosen(backends, written)
        if running in (structure(self._settings, chosen, earlier), ""):
            return ""
        new = [backend.app for backend in chosen if backend.app not in file.apps(written)]
        if new:
            return f"{' and '.join(new)} is new to HAProxy."
        if self._settings.listen != file.listen(written):
            too = f" It answers on {' and '.join(earlier)} too, as long as clients use it." if earlier else ""
            return f"HAProxy will listen on {self._settings.listen}.{too}"
        if earlier != file.earlier(written):
            return f"No client uses {' and '.join(file.earlier(written))} any more: HAProxy stops listening there."
        return "[balancer] or assets changed, or substitute was upgraded."

    def reload(self, backends: Sequence[Backend]) -> None:
        """A worker with another file takes the listening sockets; the one before finishes what it has."""

        def act() -> None:
            self._reload(backends)
            self._obey(backends)

        self._daemon.patiently(act)

    def previews(self, backend: Backend) -> Sequence[str]:
        """By the first domain of each app; where it has none, by the addresses that HAProxy listens on."""
        if backend.preview is None:
            return []
        _, _, port = self._settings.listen.rpartition(":")
        places = [f"{domain}:{port}" for domain in backend.domains if "*" not in domain][:1] or self.fronts()
        return [
            f"http://{place.removesuffix(':80')}{PREVIEW_PATH}{backend.preview.token}" for place in places
        ]

    def fronts(self) -> Sequence[str]:
        """Those of its file at which one of this root's listens."""
        written = self._daemon.written()
        named = [address for address in (file.listen(written), *file.earlier(written)) if address]
        return [address for address in named if haproxy.listens(address, self._run)]

    def access_log(self, app: str) -> AccessLog:
        """Kept in the memory of its workers."""
        from substitute.balancers.haproxy.access_log import AccessLog  # noqa: PLC0415  # few commands ask for it

        return AccessLog(self._run, app)

    def stop(self) -> None:
        """With all that it has left."""
        self._daemon.stop()

    def follow(self, backends: Sequence[Backend]) -> bool:
        """At the address that it has, after a reboot too: a front of the user's may lead there, until `stop`."""
        written = self._daemon.written()
        listen = file.listen(written)
        if not listen or (self._daemon.running() is None and haproxy.occupants(listen, self._run)[0]):
            return False
        settings = replace(self._settings, listen=listen)
        HAProxy(self._run, self._runtime, settings).route(backends)
        return True

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """From the statistics of the worker, and of those that leave; asked again when one of them has just ended."""
        deadline = time.monotonic() + _MOMENT
        while True:
            try:
                return leaving.traffic(self._run)
            except Silent as silent:
                if self._daemon.is_gone(silent):
                    if haproxy.lost(self._run):
                        raise UnobservedError(
                            f"HAProxy runs in {self._run}, which was removed, and cannot be asked.",
                            cure="`substitute up` puts another one in its place.",
                        ) from silent
                    return {}
                if isinstance(silent, (Absent, Hung)) or time.monotonic() > deadline:
                    raise UnobservedError("HAProxy does not report its state.", fact=str(silent)) from silent
            time.sleep(_TICK)

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        """Of all workers: one that leaves can be asked, too."""
        from substitute.balancers.haproxy import streams  # noqa: PLC0415  # few apps have any

        try:
            return [str(stream) for stream in streams.found(self._run, endpoints)]
        except Silent as silent:
            raise UnobservedError("HAProxy does not name its streams.", fact=str(silent)) from silent

    def end_streams(self, chosen: Sequence[str]) -> int:
        """By the worker that has each."""
        from substitute.balancers.haproxy import streams  # noqa: PLC0415  # as above

        return streams.end(self._run, map(streams.Stream.read, chosen))

    def _route(self, backends: Sequence[Backend]) -> None:
        running, written = self._daemon.running(), self._daemon.written()
        text = file.adjusted(written, backends)
        fits = running == file.description(text) and file.serves(text, backends)
        if running is None:
            text = render(self._settings, backends)
            self._daemon.start(text, _led(backends, text))
        elif not self._is_kept() and self._runtime.release(haproxy.NAME):
            text = text if fits else render(self._settings, _chosen(backends, written))
            self._daemon.succeed(text, _led(backends, text))
        elif fits:
            self._daemon.write(text, _led(backends, text))
        else:
            self._reload(backends)
        self._obey(backends)

    def _is_kept(self) -> bool:
        try:
            return haproxy.NAME in self._runtime.kept()
        except RuntimeFailedError:  # its runtime does not tell; it serves, and stays as it is
            return True

    def _reload(self, backends: Sequence[Backend]) -> None:
        written = self._daemon.written()
        text = render(self._settings, _chosen(backends, written), self._earlier(written))
        self._daemon.reload(text, _led(backends, text))

    def _obey(self, backends: Sequence[Backend]) -> None:
        """Have the running worker do what the file says, and all others hand on what comes to them."""
        # First the others: while one is being succeeded, either may answer on the worker's socket.
        leaving.dismiss(self._run)
        self._daemon.have_all_hand_on()
        written = self._daemon.written()
        led = leads(_chosen(backends, written)) if file.leads_by_map(written) else None
        said = api.obey(self._run, file.servers(written), led)
        if said is not None:
            raise BalancerError("HAProxy did not change its routes.", fact=said or self._daemon.said())

    def _earlier(self, written: str) -> tuple[str, ...]:
        """Where it is to listen besides: at the address that was `balancer.listen`, while somebody comes there."""
        kept = file.earlier(written)
        if kept and api.unused_for(self._run, EARLIER) >= _UNUSED:
            kept = ()
        before, now = file.listen(written), self._settings.listen
        moved = (before,) if before else ()
        return tuple(address for address in (*kept, *moved) if not haproxy.overlap(address, now))


def _chosen(backends: Sequence[Backend], written: str) -> list[Backend]:
    """Those that have a place in the file: all that ever had a share. One that never had needs none yet."""
    there = file.apps(written)
    return [
        backend
        for backend in backends
        if backend.app in there or backend.preview or any(server.share for server in backend.servers)
    ]


def _led(backends: Sequence[Backend], text: str) -> str:
    """The map that belongs to the file `text`."""
    return render_map(_chosen(backends, text))
