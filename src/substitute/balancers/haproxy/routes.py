"""Which requests go where: told to the embedded HAProxy by its file, and through its runtime socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy import arrival, file, leaving
from substitute.balancers.haproxy import program as haproxy
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.adjusting import adjusted, serves
from substitute.balancers.haproxy.configuration import leads, render, render_map, structure
from substitute.balancers.haproxy.names import EARLIER
from substitute.balancers.haproxy.socket import Silent
from substitute.core.model.errors import BalancerError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy.daemon import Daemon
    from substitute.balancers.haproxy.settings import Settings
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.runtime import Runtime

_UNUSED = 60
"""Seconds without a client after which an address is given up that `balancer.listen` named before."""


class Routes:
    """Those of one root."""

    def __init__(self, run_directory: Path, runtime: Runtime, settings: Settings, daemon: Daemon) -> None:
        self._run = run_directory
        self._runtime = runtime
        self._settings = settings
        self._daemon = daemon

    def route(self, backends: Sequence[Backend]) -> None:
        """The file first, so that a restart at any moment obeys too; then the running worker; then read back.

        What its worker runs by is asked of it (`description`), so a command that was killed half-way leaves
        nothing that the next does not notice. One that crashes meanwhile comes back, and is told again.

        Who is on another machine has to be reached first: until then the file says what it said, whatever restarts.
        """
        self._carefully(self._route, backends)

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

        def act(backends: Sequence[Backend]) -> None:
            self._reload(backends)
            self._obey(backends)

        self._carefully(act, backends)

    def _carefully(self, act: Callable[[Sequence[Backend]], None], backends: Sequence[Backend]) -> None:
        moved = arrival.moves(self._daemon.written(), backends)
        self._daemon.patiently(lambda: act(arrival.first(backends, moved)))
        if moved:
            self._daemon.patiently(lambda: arrival.wait(self._run, moved))
            self._daemon.patiently(lambda: self._route(backends))

    def _route(self, backends: Sequence[Backend]) -> None:
        running, written = self._daemon.running(), self._daemon.written()
        text = adjusted(written, backends)
        fits = running == file.description(text) and serves(text, backends)
        if running is None:
            text = render(self._settings, backends)
            self._daemon.start(text, _map_text(backends, text))
        elif not self._is_kept() and self._runtime.release(haproxy.NAME):
            text = text if fits else render(self._settings, _chosen(backends, written))
            self._daemon.succeed(text, _map_text(backends, text))
        elif fits:
            self._daemon.write(text, _map_text(backends, text))
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
        self._daemon.reload(text, _map_text(backends, text))

    def _obey(self, backends: Sequence[Backend]) -> None:
        """Have the running worker do what the file says, and all others hand on what comes to them."""
        # First the others: while one is being succeeded, either may answer on the worker's socket.
        leaving.end_succeeded(self._run)
        self._daemon.await_old_workers()
        written = self._daemon.written()
        hosts = leads(_chosen(backends, written)) if file.leads_by_map(written) else None
        said = api.obey(self._run, file.servers(written), hosts)
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


def _map_text(backends: Sequence[Backend], text: str) -> str:
    """The map that belongs to the file `text`."""
    return render_map(_chosen(backends, text))
