"""The embedded balancer: an HAProxy of the root's own, run by its runtime, switched through its runtime socket."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from substitute.balancers import haproxy_file as file
from substitute.balancers import haproxy_leaving as leaving
from substitute.balancers import haproxy_program as haproxy
from substitute.balancers import haproxy_socket as api
from substitute.balancers.haproxy_configuration import EARLIER, MAP, Settings, hosts, render, structure
from substitute.balancers.haproxy_socket import Absent, Hung, Silent
from substitute.core.errors import BalancerError, RuntimeFailedError, UnmovedError, UnobservedError
from substitute.files import write_atomically
from substitute.processes import identify, is_alive, is_stopped, signal_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.balancers.haproxy_answers import Processes
    from substitute.core.ports import Backend, Runtime, Traffic
    from substitute.core.slots import Endpoint

_PATIENCE = 10.0
"""Seconds for HAProxy to start, to reload, or to come back after a crash."""
_MOMENT = 1.0
_TICK = 0.005
_HELD = "{listen}, where HAProxy should listen, is held by {holder}."
_ELSEWHERE = "End that, or set another balancer.listen in substitute.toml."
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
        self._patiently(lambda: self._route(backends))

    def pending(self, backends: Sequence[Backend]) -> str:
        """An app that is new to it, and what changed in ``[balancer]``."""
        written = self._written()
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
            too = f" It answers on {' and '.join(earlier)} too, while clients come there." if earlier else ""
            return f"HAProxy is to listen on {self._settings.listen}.{too}"
        if earlier != file.earlier(written):
            return f"Nobody comes to {' and '.join(file.earlier(written))} any more."
        return "[balancer] has changed, or substitute has."

    def reload(self, backends: Sequence[Backend]) -> None:
        """A worker with another file takes the listening sockets; the one before finishes what it has."""

        def act() -> None:
            self._reload(backends)
            self._obey(backends)

        self._patiently(act)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """From the statistics of the worker, and of those that leave; asked again when one of them has just ended."""
        deadline = time.monotonic() + _MOMENT
        while True:
            try:
                return leaving.traffic(self._run)
            except Silent as silent:
                if self._is_gone(silent):
                    return {}
                if isinstance(silent, (Absent, Hung)) or time.monotonic() > deadline:
                    raise UnobservedError("HAProxy does not say what it does.", fact=str(silent)) from silent
            time.sleep(_TICK)

    def stop(self) -> None:
        """End it through its runtime, also one that outlived an earlier runtime, and all that it left."""
        for pid in haproxy.those_of(self._run):
            if is_stopped(pid) and (stopped := identify(pid)):
                signal_process(stopped, signal.SIGCONT)
        known = None
        with suppress(Silent):
            known = api.processes(self._run)
        process = identify(known.master) if known else None
        self._runtime.stop(haproxy.NAME, process, timeout=haproxy.STOP_TIMEOUT)
        left = [process for pid in haproxy.those_of(self._run) if (process := identify(pid))]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in left:
                signal_process(process, number)
            deadline = time.monotonic() + haproxy.STOP_TIMEOUT
            while any(map(is_alive, left)) and time.monotonic() < deadline:
                time.sleep(_TICK)
        leaving.forget(self._run)

    def _patiently(self, act: Callable[[], None]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                act()
            except Silent as silent:
                self._give_up_past(deadline, silent)
                time.sleep(_TICK)
            else:
                return

    def _route(self, backends: Sequence[Backend]) -> None:
        running = self._running()
        written = self._written()
        text = file.adjusted(written, backends)
        fits = running == file.description(text) and file.serves(text, backends)
        if running is None:
            self._start(backends)
        elif not self._is_kept() and self._runtime.release(haproxy.NAME):
            chosen = _chosen(backends, written)
            self._succeed(text if fits else render(self._settings, chosen), backends)
        elif fits:
            self._write(text, backends)
        else:
            self._reload(backends)
        self._obey(backends)

    def _obey(self, backends: Sequence[Backend]) -> None:
        """Have the running worker do what the file says, and all others hand on what comes to them."""
        # First the others: while one is being succeeded, either may answer on the worker's socket.
        leaving.dismiss(self._run)
        self._have_all_hand_on(_PATIENCE)
        written = self._written()
        said = api.weigh(self._run, file.servers(written))
        if said is None and file.leads_by_map(written):
            said = api.lead(self._run, hosts(_chosen(backends, written)))
        if said is not None:
            raise BalancerError("HAProxy did not obey.", fact=said or self._said())

    def _have_all_hand_on(self, patience: float) -> None:
        self._wait(
            lambda: not leaving.astray(self._run),
            patience,
            "An old worker of HAProxy goes on by its old weights.",
            kind=UnmovedError,
        )

    # -- start and reload -----------------------------------------------------------------------

    def _running(self) -> str | None:
        """What the worker runs by, or None where none runs. One that crashed is about to come back."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return api.description(self._run)
            except Silent as silent:
                if self._is_gone(silent):
                    return None
                self._give_up_past(deadline, silent)
            time.sleep(_TICK)

    def _is_kept(self) -> bool:
        try:
            return haproxy.NAME in self._runtime.kept()
        except RuntimeFailedError:  # its runtime does not tell; it serves, and stays as it is
            return True

    def _is_gone(self, silent: Silent) -> bool:
        """Whether none runs: nobody listens on its socket, its runtime keeps none, and none holds its address."""
        if not isinstance(silent, Absent):
            return False
        with suppress(RuntimeFailedError):  # one that does not tell: then its address does
            if self._runtime.inspect(haproxy.NAME).process:
                return False
        addresses = {self._settings.listen, file.listen(self._written())} - {""}
        return not any(haproxy.occupants(listen, self._run)[1] for listen in addresses)

    def _give_up_past(self, deadline: float, silent: Silent) -> None:
        """Raise past `deadline`, and at once where one of it is stopped: name what hangs.

        Where the worker answers all the same, what it serves it goes on to serve.
        """
        past = time.monotonic() > deadline
        if not past and not isinstance(silent, Hung):
            return
        pids = haproxy.those_of(self._run)
        stopped = [pid for pid in pids if is_stopped(pid)]
        if not past and not stopped:
            return
        named = " ".join(map(str, stopped or pids))
        kind = UnmovedError if self._answers() else BalancerError
        if stopped:
            raise kind(
                f"HAProxy (pid {named}) is stopped, as SIGSTOP does it, and answers nobody.",
                fact=str(silent),
                cure=f"`kill -CONT {named}` lets it go on. No other one is started beside it.",
            ) from silent
        if pids:
            raise kind(
                f"HAProxy (pid {named}) runs and does not answer.",
                fact=f"{silent} {self._said()}",
                cure=f"`kill {named}` ends it; the next command starts another.",
            ) from silent
        raise kind("HAProxy stopped answering.", fact=f"{silent} {self._said()}") from silent

    def _answers(self) -> bool:
        try:
            return bool(api.description(self._run, patience=_MOMENT))
        except Silent:
            return False

    def _start(self, backends: Sequence[Backend]) -> None:
        text = render(self._settings, backends)
        wanted, binary = file.description(text), self._checked(text)
        if holder := haproxy.occupants(self._settings.listen, self._run)[0]:
            raise BalancerError(_HELD.format(listen=self._settings.listen, holder=holder), cure=_ELSEWHERE)
        leaving.forget(self._run)
        self._write(text, backends)
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
                lambda: self._runs_by(wanted) and api.processes(self._run) is not None,
                _PATIENCE,
                f"HAProxy does not start on {self._settings.listen}.",
                unless=lambda: self._runtime.inspect(haproxy.NAME).process != process,
            )
        except BaseException:
            self._runtime.stop(haproxy.NAME, process, timeout=1.0)  # else it would be tried for ever
            raise

    def _succeed(self, text: str, backends: Sequence[Backend]) -> None:
        """Put one that is kept running in the place of one that nobody would start again, or an earlier runtime.

        It takes the listening sockets, so no connection is refused; then the other one finishes its requests and ends.
        """
        binary, before = self._checked(text), self._master()
        leaving.remember(self._run, before.master)
        self._write(text, backends)
        try:
            self._runtime.start(haproxy.program(binary, self._run, heir=True))
        except RuntimeFailedError as error:
            leaving.dismiss(self._run)
            raise UnmovedError("Another HAProxy does not start.", fact=error.reason) from error
        self._wait(
            lambda: self._leads_since(before) and self._runs_by(file.description(text)),
            _PATIENCE,
            "Another HAProxy does not take over.",
        )

    def _leads_since(self, before: Processes) -> bool:
        now = api.processes(self._run)
        return now is not None and now.master != before.master

    def _reload(self, backends: Sequence[Backend]) -> None:
        written = self._written()
        text = render(self._settings, _chosen(backends, written), self._earlier(written))
        wanted = file.description(text)
        if self._runs_by(wanted) and file.description(written) == wanted:
            self._write(text, backends)
            return
        self._checked(text)
        self._require_bindable(text, written)
        before, led = self._master(), self._led()
        self._write(text, backends)
        api.reload(self._run)
        try:
            self._wait(
                lambda: self._runs_by(wanted),
                _PATIENCE,
                "HAProxy did not reload, and serves as before.",
                unless=lambda: self._refused_since(before),
            )
        except BalancerError as error:
            write_atomically(self._run / MAP, led)
            write_atomically(self._file, written or text)
            raise UnmovedError(error.what, fact=error.fact) from error
        # One of the first version does not hand on, but ends.
        self._have_all_hand_on(_PATIENCE + file.hard_stop(written))

    def _runs_by(self, wanted: str) -> bool:
        try:
            return api.description(self._run) == wanted
        except Silent:
            return False

    def _checked(self, text: str) -> str:
        binary = haproxy.choose(self._settings.binary)
        candidate = self._run / "haproxy.candidate.cfg"
        if not (self._run / MAP).exists():
            write_atomically(self._run / MAP, "")
        write_atomically(candidate, text)
        try:
            haproxy.check(binary, candidate)
        finally:
            candidate.unlink(missing_ok=True)
        return binary

    def _earlier(self, written: str) -> tuple[str, ...]:
        """Where it is to listen besides: at the address that was `balancer.listen`, while somebody comes there."""
        kept = file.earlier(written)
        if kept and api.unused_for(self._run, EARLIER) >= _UNUSED:
            kept = ()
        before, now = file.listen(written), self._settings.listen
        moved = (before,) if before else ()
        return tuple(address for address in (*kept, *moved) if not haproxy.overlap(address, now))

    def _require_bindable(self, text: str, written: str) -> None:
        """Raise UnmovedError where what it should listen on besides what it does can't be listened on."""
        bound = (file.listen(written), *file.earlier(written))
        for listen in {file.listen(text), *file.earlier(text)} - set(bound):
            if holder := haproxy.occupants(listen, self._run)[0]:
                raise UnmovedError(_HELD.format(listen=listen, holder=holder), cure=_ELSEWHERE)
            # What overlaps an address of its own it can have: it gives that one up before.
            if not any(haproxy.overlap(listen, address) for address in bound if address) and (
                refusal := haproxy.refusal(listen)
            ):
                raise UnmovedError(
                    f"HAProxy cannot listen on {listen}, and serves as before.", fact=refusal, cure=_ELSEWHERE
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

    # -- its files and its log ------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self._run / haproxy.FILE

    def _written(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def _led(self) -> str:
        return (self._run / MAP).read_text()

    def _write(self, text: str, backends: Sequence[Backend]) -> None:
        led = "".join(f"{host} {app}\n" for host, app in hosts(_chosen(backends, text)).items())
        for path, wanted in ((self._run / MAP, led), (self._file, text)):
            if not path.exists() or path.read_text() != wanted:
                write_atomically(path, wanted)

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
        kind: type[BalancerError] = BalancerError,
    ) -> None:
        deadline = time.monotonic() + patience
        while not reached():
            if unless() or time.monotonic() > deadline:
                raise kind(otherwise, fact=self._said())
            time.sleep(_TICK)


def _chosen(backends: Sequence[Backend], written: str) -> list[Backend]:
    """Those that have a place in the file: all that ever had a share. One that never had needs none yet."""
    there = file.apps(written)
    return [
        backend
        for backend in backends
        if backend.app in there or any(server.share for server in backend.servers)
    ]
