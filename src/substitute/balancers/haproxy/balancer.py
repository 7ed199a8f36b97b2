"""The embedded balancer: an HAProxy of the root's own, run by its runtime, switched through its runtime socket."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from substitute.balancers.haproxy import file, leaving
from substitute.balancers.haproxy import program as haproxy
from substitute.balancers.haproxy.daemon import Daemon
from substitute.balancers.haproxy.names import PREVIEW_PATH
from substitute.balancers.haproxy.settings import Settings
from substitute.balancers.haproxy.socket import Absent, Hung, Silent
from substitute.core.model.errors import UnobservedError
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy.access_log import AccessLog
    from substitute.balancers.haproxy.routes import Routes
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend, Traffic
    from substitute.core.ports.runtime import Runtime

_MOMENT = 1.0
_TICK = 0.005


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
        """The file first, so that a restart at any moment obeys too; then the running worker; then read back."""
        self._routes.route(backends)

    def pending(self, backends: Sequence[Backend]) -> str:
        """An app that is new to it, and what changed in ``[balancer]`` or in ``assets``."""
        return self._routes.pending(backends)

    def reload(self, backends: Sequence[Backend]) -> None:
        """A worker with another file takes the listening sockets; the one before finishes what it has."""
        self._routes.reload(backends)

    @cached_property
    def _routes(self) -> Routes:
        from substitute.balancers.haproxy.routes import Routes  # noqa: PLC0415  # `status` changes none

        return Routes(self._run, self._runtime, self._settings, self._daemon)

    def previews(self, backend: Backend) -> Sequence[str]:
        """Links at the first domain of the app; where it has none, at the addresses that HAProxy listens on."""
        if backend.preview is None:
            return []
        _, _, port = self._settings.listen.rpartition(":")
        places = [f"{domain}:{port}" for domain in backend.domains if "*" not in domain][:1] or self.fronts()
        return [
            f"http://{place.removesuffix(':80')}{PREVIEW_PATH}{backend.preview.token}" for place in places
        ]

    def notices_after(self) -> float:
        """It is told, and obeys at once."""
        return 0.0

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
        """Asks the worker that has each."""
        from substitute.balancers.haproxy import streams  # noqa: PLC0415  # as above

        return streams.end(self._run, map(streams.Stream.read, chosen))
