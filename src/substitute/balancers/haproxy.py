"""The embedded balancer: an HAProxy of the root's own, run by its runtime, switched through its runtime socket."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from substitute.balancers import haproxy_program as haproxy
from substitute.balancers import haproxy_socket as api
from substitute.balancers.haproxy_configuration import Settings, hard_stop_of, render, shares, structure
from substitute.balancers.haproxy_socket import WORKER, Silent
from substitute.core.errors import BalancerError, RuntimeFailedError, UnobservedError
from substitute.core.ports import Process
from substitute.files import write_atomically
from substitute.processes import identify, is_alive, signal_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy_answers import Processes
    from substitute.core.ports import Backend, Runtime, Traffic
    from substitute.core.slots import Endpoint

_PATIENCE = 10.0
"""Seconds for HAProxy to start, to reload, or to come back after a crash."""
_MARGIN = 5.0
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
        ),
    )


class HAProxy:
    """See `core.ports.Balancer`."""

    def __init__(self, run_directory: Path, runtime: Runtime, settings: Settings) -> None:
        self._run = run_directory
        self._runtime = runtime
        self._settings = settings

    def route(self, backends: Sequence[Backend]) -> None:
        """The file first, so that a restart at any moment obeys too; then the running worker; then read back.

        What its worker runs by is asked of it (`description`), so a command that was killed half-way leaves
        nothing that the next does not notice. One that crashes meanwhile comes back, and is told again.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._route(backends)
            except Silent as silent:
                if time.monotonic() > deadline:
                    fact = f"{silent} {self._said()}"
                    raise BalancerError("HAProxy stopped answering.", fact=fact) from silent
                time.sleep(_TICK)
            else:
                return

    def _route(self, backends: Sequence[Backend]) -> None:
        text, wanted = render(self._settings, backends), structure(self._settings, backends)
        patience = max(hard_stop_of(text), hard_stop_of(self._written())) + _MARGIN
        self._dismiss(patience)
        running = self._running()
        if running is None:
            self._start(text, wanted)
        elif haproxy.NAME not in self._runtime.kept() and self._runtime.release(haproxy.NAME):
            self._succeed(text, wanted)
            self._dismiss(patience)
        elif running != wanted:
            self._reload(text, wanted)
        else:
            self._write(text)
        disobeyed = api.weigh(self._run, dict(shares(backends)))
        if disobeyed is not None:
            raise BalancerError("HAProxy did not obey.", fact=disobeyed or self._said())
        # An old worker still has its idle clients and its old weights, and can't be told anything.
        self._wait(lambda: not self._master().old, patience, "An old worker of HAProxy does not leave.")

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """From the statistics of the worker, and of old ones that a reload has left."""
        try:
            return api.traffic(self._run)
        except Silent as silent:
            if self._is_gone():
                return {}
            raise UnobservedError("HAProxy does not say what it does.", fact=str(silent)) from silent

    def stop(self) -> None:
        """End it through its runtime, also one that outlived an earlier runtime."""
        known = api.processes(self._run)
        process = identify(known.master) if known else None
        self._runtime.stop(haproxy.NAME, process, timeout=haproxy.STOP_TIMEOUT)

    def _is_gone(self) -> bool:
        """Whether none runs: neither one that its runtime keeps, nor one that has outlived it."""
        if self._runtime.inspect(haproxy.NAME).process or api.processes(self._run):
            return False
        _, ours = haproxy.occupants(self._settings.listen, self._run)
        return not ours

    # -- start and reload -----------------------------------------------------------------------

    def _running(self) -> str | None:
        """What the worker runs by, or None where none runs. One that crashed is about to come back."""
        deadline = time.monotonic() + _PATIENCE
        while (found := api.description(self._run)) is None:
            process = self._runtime.inspect(haproxy.NAME).process
            if process is None:
                return None
            if time.monotonic() > deadline:
                raise BalancerError(
                    f"HAProxy (pid {process.pid}) runs and does not answer on {self._run / WORKER}.",
                    fact=self._said(),
                    cure="End that process; the next command starts another.",
                )
            time.sleep(_TICK)
        return found

    def _start(self, text: str, wanted: str) -> None:
        binary = self._checked(text)
        self._require_free_address(running=False)
        self._write(text)
        try:
            process = self._runtime.start(haproxy.program(binary, self._run))
        except RuntimeFailedError as error:
            # In this very moment it may have come back by itself, and then it has read the same file.
            known = self._runtime.inspect(haproxy.NAME).process
            if known is None:
                raise BalancerError("HAProxy does not start.", fact=error.reason) from error
            process = known
        try:
            self._wait(
                lambda: api.description(self._run) == wanted and api.processes(self._run) is not None,
                _PATIENCE,
                f"HAProxy does not start on {self._settings.listen}.",
                unless=lambda: self._runtime.inspect(haproxy.NAME).process != process,
            )
        except BaseException:
            self._runtime.stop(haproxy.NAME, process, timeout=1.0)  # else it would be tried for ever
            raise

    def _succeed(self, text: str, wanted: str) -> None:
        """Put one that is kept running in the place of one that nobody would start again, or an earlier runtime.

        It takes the listening sockets, so no connection is refused; then the other one finishes its requests and ends.
        """
        binary, before = self._checked(text), self._master()
        self._write(text)
        process = identify(before.master)
        if process:
            write_atomically(self._leaving, json.dumps(asdict(process)))
        try:
            self._runtime.start(haproxy.program(binary, self._run, heir=True))
        except RuntimeFailedError as error:
            self._leaving.unlink(missing_ok=True)
            raise BalancerError("Another HAProxy does not start.", fact=error.reason) from error
        self._wait(
            lambda: self._leads_since(before) and api.description(self._run) == wanted,
            _PATIENCE,
            "Another HAProxy does not take over.",
        )

    def _dismiss(self, patience: float) -> None:
        """Have the one that was succeeded finish its requests and end, though the command that began it was killed."""
        try:
            process = Process(**json.loads(self._leaving.read_text()))
        except FileNotFoundError:
            return
        known = api.processes(self._run)
        if known is None or known.master != process.pid:  # else its heir did not come
            signal_process(process, signal.SIGUSR1)
            self._wait(lambda: not is_alive(process), patience, "The earlier HAProxy does not leave.")
        self._leaving.unlink(missing_ok=True)

    def _leads_since(self, before: Processes) -> bool:
        now = api.processes(self._run)
        return now is not None and now.master != before.master

    def _reload(self, text: str, wanted: str) -> None:
        self._checked(text)
        self._require_free_address(running=True)
        before = self._master()
        earlier = self._written() or text
        self._write(text)
        api.reload(self._run)
        try:
            self._wait(
                lambda: api.description(self._run) == wanted,
                _PATIENCE,
                "HAProxy did not reload, and serves as before.",
                unless=lambda: self._refused_since(before),
            )
        except BalancerError:
            self._write(earlier)
            raise

    def _checked(self, text: str) -> str:
        binary = haproxy.choose(self._settings.binary)
        candidate = self._run / "haproxy.candidate.cfg"
        write_atomically(candidate, text)
        try:
            haproxy.check(binary, candidate)
        finally:
            candidate.unlink(missing_ok=True)
        return binary

    def _require_free_address(self, *, running: bool) -> None:
        """A HAProxy of this root hands its sockets on where it is `running`, else it is about to end."""
        deadline = time.monotonic() + _MARGIN
        others, ours = haproxy.occupants(self._settings.listen, self._run)
        while ours and not running and time.monotonic() < deadline:
            time.sleep(_TICK)
            others, ours = haproxy.occupants(self._settings.listen, self._run)
        if others and not ours:
            raise BalancerError(
                f"{self._settings.listen}, where HAProxy should listen, is held by {others}.",
                cure="End that, or set another balancer.listen in substitute.toml.",
            )

    def _master(self) -> Processes:
        """The account of its master. One without is about to end, whatever its worker still says: `Silent`."""
        known = api.processes(self._run)
        if known is None:
            raise Silent("Its master does not answer.")
        return known

    def _refused_since(self, before: Processes) -> bool:
        now = api.processes(self._run)
        return now is not None and now.reloads > before.reloads and now.failed > 0

    # -- its file and its log -------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self._run / haproxy.FILE

    @property
    def _leaving(self) -> Path:
        return self._run / "haproxy.leaving"

    def _written(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def _write(self, text: str) -> None:
        if self._written() != text:
            write_atomically(self._file, text)

    def _said(self) -> str:
        lines = self._runtime.last_lines(haproxy.NAME, self._run / haproxy.LOG, 12)
        return haproxy.complaint("\n".join(lines))

    def _wait(
        self,
        reached: Callable[[], bool],
        patience: float,
        otherwise: str,
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        deadline = time.monotonic() + patience
        while not reached():
            if unless() or time.monotonic() > deadline:
                raise BalancerError(otherwise, fact=self._said())
            time.sleep(_TICK)
