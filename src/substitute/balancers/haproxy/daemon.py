"""HAProxy as something that runs: started, reloaded, succeeded, ended; and named where it hangs."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import file, leaving
from substitute.balancers.haproxy import program as haproxy
from substitute.balancers.haproxy import socket as api
from substitute.balancers.haproxy.names import MAP
from substitute.balancers.haproxy.socket import Absent, Hung, Silent
from substitute.core.model.errors import BalancerError, RuntimeFailedError, UnmovedError
from substitute.core.polling import wait_while
from substitute.io.files import write_all_atomically, write_atomically
from substitute.linux.processes import identify, is_alive, is_stopped, signal_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.balancers.haproxy.answers import Processes
    from substitute.balancers.haproxy.settings import Settings
    from substitute.core.ports.runtime import Runtime

_PATIENCE = 10.0
"""Seconds for HAProxy to start, to reload, or to come back after a crash."""
_MOMENT = 1.0
_TICK = 0.005
_ELSEWHERE = (
    "Set another balancer.listen in substitute.toml: `ip -brief address` lists the addresses of this machine, and "
    "`*:PORT` is all of them."
)


class Daemon:
    """The HAProxy of one root. It reads two files: `text` is its configuration, `map_text` its map of host names."""

    def __init__(self, run_directory: Path, runtime: Runtime, settings: Settings) -> None:
        self._run = run_directory
        self._runtime = runtime
        self._settings = settings

    def patiently(self, act: Callable[[], None]) -> None:
        """Do `act`, and again while nobody answers. Raises BalancerError, which names what hangs."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                act()
            except Silent as silent:
                self._give_up_past(deadline, silent)
                time.sleep(_TICK)
            else:
                return

    def running(self) -> str | None:
        """What the worker runs by, or None where none runs. One that crashed is about to come back."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return api.description(self._run)
            except Silent as silent:
                if self.is_gone(silent):
                    return None
                self._give_up_past(deadline, silent)
            time.sleep(_TICK)

    def is_gone(self, silent: Silent) -> bool:
        """Whether none runs: nobody listens on its socket, its runtime keeps none, and none holds its address."""
        if not isinstance(silent, Absent):
            return False
        with suppress(RuntimeFailedError):  # one that does not tell: then its address does
            if self._runtime.inspect(haproxy.NAME).process:
                return False
        addresses = {self._settings.listen, file.listen(self.written())} - {""}
        return not any(haproxy.listens(listen, self._run) for listen in addresses)

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
                f"HAProxy (pid {named}) is suspended (SIGSTOP) and answers no request.",
                fact=str(silent),
                cure=f"Resume it with `kill -CONT {named}`. No second one is started beside it.",
            ) from silent
        if pids:
            raise kind(
                f"HAProxy (pid {named}) runs and does not answer.",
                fact=f"{silent} {self.said()}",
                cure=f"`kill {named}` ends it; the next command starts another.",
            ) from silent
        raise kind("HAProxy stopped answering.", fact=f"{silent} {self.said()}") from silent

    def _answers(self) -> bool:
        try:
            return bool(api.description(self._run, patience=_MOMENT))
        except Silent:
            return False

    def start(self, text: str, map_text: str) -> None:
        """Have the runtime keep one running. Raises BalancerError, and then it is not tried again for ever."""
        wanted, binary = file.description(text), self._checked(text)
        self._dismiss_lost()
        if holder := haproxy.occupants(self._settings.listen, self._run)[0]:
            raise self._held(BalancerError, self._settings.listen, holder)
        if refusal := haproxy.refusal(self._settings.listen):
            raise BalancerError(
                f"HAProxy cannot listen on {self._settings.listen}.", fact=refusal, cure=_ELSEWHERE
            )
        self.write(text, map_text)
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

    def _dismiss_lost(self) -> None:
        """Have those finish what they have, whose directory was removed: they can hand their sockets to nobody.

        Until another one listens, new connections are refused.
        """
        lost = [process for pid in haproxy.lost(self._run) if (process := identify(pid))]
        for process in lost:
            signal_process(process, signal.SIGUSR1)
        wait_while(lambda: lost and haproxy.occupants(self._settings.listen, self._run)[0], _MOMENT, _TICK)

    def succeed(self, text: str, map_text: str) -> None:
        """Put one that is kept running in the place of one that nobody would start again, or an earlier runtime.

        It takes the listening sockets, so no connection is refused; then the other one finishes its requests and ends.
        """
        binary, before = self._checked(text), self._master()
        leaving.remember(self._run, before.master)
        self.write(text, map_text)
        try:
            self._runtime.start(haproxy.program(binary, self._run, heir=True))
        except RuntimeFailedError as error:
            leaving.end_succeeded(self._run)
            raise UnmovedError("A second HAProxy does not start.", fact=error.reason) from error
        self._wait(
            lambda: self._leads_since(before) and self._runs_by(file.description(text)),
            _PATIENCE,
            "A second HAProxy could not take over.",
        )

    def _leads_since(self, before: Processes) -> bool:
        now = api.processes(self._run)
        return now is not None and now.master != before.master

    def reload(self, text: str, map_text: str) -> None:
        """Return when a new worker serves by `text`, and no other by anything else. Raises UnmovedError.

        Then both files are as they were.
        """
        written = self.written()
        wanted = file.description(text)
        if self._runs_by(wanted) and file.description(written) == wanted:
            self.write(text, map_text)
            return
        self._checked(text)
        self._require_bindable(text, written)
        before, map_before = self._master(), (self._run / MAP).read_text()
        self.write(text, map_text)
        api.reload(self._run)
        try:
            self._wait(
                lambda: self._runs_by(wanted),
                _PATIENCE,
                "HAProxy did not reload, and serves as before.",
                unless=lambda: self._refused_since(before),
            )
        except BalancerError as error:
            write_atomically(self._run / MAP, map_before)
            write_atomically(self._file, written or text)
            raise UnmovedError(error.what, fact=error.fact) from error
        # One of the first version does not hand on, but ends.
        self.await_old_workers(_PATIENCE + file.hard_stop(written))

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
        pids = [*haproxy.those_of(self._run), *haproxy.lost(self._run)]
        left = [process for pid in pids if (process := identify(pid))]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in left:
                signal_process(process, number)
            wait_while(lambda: any(map(is_alive, left)), haproxy.STOP_TIMEOUT, _TICK)
        leaving.forget(self._run)

    def await_old_workers(self, patience: float | None = None) -> None:
        """Wait until no worker that leaves sends a new request by the weights that it had."""
        self._wait(
            lambda: not leaving.routing_by_old_weights(self._run),
            patience or _PATIENCE,
            "An old HAProxy worker still routes as before.",
            kind=UnmovedError,
        )

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

    def _require_bindable(self, text: str, written: str) -> None:
        """Raise UnmovedError where what it should listen on besides what it does can't be listened on."""
        bound = (file.listen(written), *file.earlier(written))
        for listen in {file.listen(text), *file.earlier(text)} - set(bound):
            if holder := haproxy.occupants(listen, self._run)[0]:
                raise self._held(UnmovedError, listen, holder)
            # What overlaps an address of its own it can have: it gives that one up before.
            if not any(haproxy.overlap(listen, address) for address in bound if address) and (
                refusal := haproxy.refusal(listen)
            ):
                raise UnmovedError(
                    f"HAProxy cannot listen on {listen}, and serves as before.", fact=refusal, cure=_ELSEWHERE
                )

    def _held(self, kind: type[BalancerError], listen: str, holder: str) -> BalancerError:
        what = f"{listen}, where HAProxy should listen, is held by {holder}."
        if root := haproxy.root_behind(listen, self._run):
            return kind(
                what,
                fact=f"That is the balancer of the root {root}, which serves.",
                cure="Leave it running, and set another balancer.listen in the substitute.toml of this root.",
            )
        return kind(what, cure="Stop that program, or set another balancer.listen in substitute.toml.")

    def _master(self) -> Processes:
        """The account of its master. One without is about to end, whatever its worker still says: `Silent`."""
        known = api.processes(self._run)
        if known is None:
            raise Silent("Its master does not answer.")
        return known

    def _refused_since(self, before: Processes) -> bool:
        now = api.processes(self._run)
        return now is not None and now.reloads > before.reloads and now.failed > 0

    @property
    def _file(self) -> Path:
        return self._run / haproxy.FILE

    def written(self) -> str:
        """The file as it is, or empty."""
        return self._file.read_text() if self._file.exists() else ""

    def write(self, text: str, map_text: str) -> None:
        """Replace what differs, so that it comes back with that."""
        wanted = {self._run / MAP: map_text, self._file: text}
        write_all_atomically(
            {path: it for path, it in wanted.items() if not path.exists() or path.read_text() != it}
        )

    def said(self) -> str:
        """What HAProxy last complained of, in its log."""
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
                raise kind(otherwise, fact=self.said())
            time.sleep(_TICK)
