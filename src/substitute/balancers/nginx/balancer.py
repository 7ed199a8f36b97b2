"""The user's own nginx. It includes one file that is written here, and is reloaded when that changes.

The file comes first, so that a restart at any moment obeys too. A reload counts as carried out when every worker
that ran before has stopped accepting and new ones have begun. Only then is it remembered which text this master
obeys: a command that was killed half-way leaves another text, or none, and the next one reloads again. Clocks and
the file's time are not trusted with that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.balancers.nginx import processes, program
from substitute.balancers.nginx.configuration import render, shares
from substitute.balancers.nginx.connections import undecided
from substitute.balancers.nginx.memory import Obeyed, digest, recall, remember
from substitute.balancers.users_own import OurFile, UsersOwn
from substitute.core.deploy.readiness.started import LogTail
from substitute.core.model.errors import UnmovedError, UnobservedError
from substitute.core.ports.balancer import Traffic
from substitute.io.tail import Appended
from substitute.linux import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.runtime import Runtime

_LOSS = (
    "This reload of nginx {version} closed the idle connections of its clients: at full load that fails about six "
    "requests of 32 keep-alive clients. `keepalive_min_timeout 2s;` in its http block prevents it from nginx 1.27.4 "
    'on; balancer.kind = "passive" needs no reload.'
)
"""Measured over 30 reloads with wrk: nginx 1.22 failed 170 requests, 1.31 failed 101, and with that line none."""
_UNWRITABLE = "Give this user write access to its directory, or set another balancer.file."
_FILE, _MEMORY = "nginx.conf", "nginx.obeyed"


class Configured(Protocol):
    """The table ``[balancer]``."""

    @property
    def binary(self) -> str | None: ...  # noqa: D102
    @property
    def file(self) -> str | None: ...  # noqa: D102
    @property
    def config(self) -> str | None: ...  # noqa: D102


def connect(root: Path, runtime: Runtime, settings: Configured, warn: Callable[[str], None]) -> Nginx:
    """Make the balancer of `root`."""
    del runtime
    run = root / "deploy" / "run"
    return Nginx(
        root / settings.file if settings.file else run / _FILE,
        run / _MEMORY,
        binary=settings.binary,
        config=root / settings.config if settings.config else None,
        warn=warn,
    )


class Nginx(UsersOwn):
    """See `core.ports.balancer.Balancer`. `file` is what nginx includes, `memory` is what only substitute reads."""

    def __init__(
        self,
        file: Path,
        memory: Path,
        *,
        binary: str | None,
        config: Path | None,
        warn: Callable[[str], None],
    ) -> None:
        self._file = OurFile(file, _UNWRITABLE)
        self._memory = memory
        self._binary = binary
        self._config = config
        self._warn = warn
        self._warned: set[str] = set()

    def route(self, backends: Sequence[Backend]) -> None:
        """Nothing is done where nginx is known to obey already, or does not run and will obey when it starts."""
        text, earlier = render(backends), self._file.read()
        if earlier == text and self._is_obeyed(text):
            return
        self._file.write(text)
        try:
            setup = program.inspect(program.choose(self._binary), self._config)
            self._require_included(setup)
            master = self._running(setup)
            self._reload(master, setup)
        except UnmovedError as error:
            if isinstance(error, processes.UnclearError):
                self._memory.unlink(missing_ok=True)  # it may have read either: the next route reloads
            self._restore(earlier, refused=isinstance(error, program.RefusedError))
            raise
        remember(self._memory, Obeyed(digest(text), master, setup.pid_file))

    def follow(self, backends: Sequence[Backend]) -> bool:
        """Where nginx no longer includes the file, it reloads what its user took the file out of, and is done with."""
        try:
            binary = program.choose(self._binary)
        except UnmovedError:
            return False
        setup = program.inspect(binary, self._config)
        master = processes.master_of(setup.pid_file)
        if self._file.path.resolve() not in setup.files:
            if master and recall(self._memory):
                self._reload(master, setup)
            self._memory.unlink(missing_ok=True)
            return False
        if master:
            self.route(backends)
        else:
            self._file.write(render(backends))  # for when it starts
        return True

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """The kernel's count of connections to each endpoint, and the workers that may yet open one.

        A worker that a reload has replaced still serves the clients that it has by the file that it began with.
        So while one has a client that is connected to nothing behind it, no endpoint without a share counts as left
        alone. What it has with other sites (a WebSocket) is none of ours.
        """
        text = self._file.read()
        master = None if text is None else self._master()
        if master is None or text is None:
            raise UnobservedError("nginx does not run, or was never told where to send requests.")
        known, obeyed = shares(text), recall(self._memory)
        in_force = obeyed is not None and obeyed.digest == digest(text)
        # The workers first: one that leaves in between has closed its connections.
        leaving = sum(map(undecided, processes.workers_of(master).leaving))
        counted = connections.counted(known)
        return {
            endpoint: Traffic(
                counted[endpoint] + (0 if share and in_force else leaving),
                requests=None,
                cut=None,
                share=share if in_force else None,
            )
            for endpoint, share in known.items()
        }

    def stop(self) -> None:
        """It is the user's, and stays; so does the file, without which it would not start again."""

    # -- does it obey ---------------------------------------------------------------------------

    def _is_obeyed(self, text: str) -> bool:
        """Whether `text` has been in the file since nginx was seen to obey it, and no other nginx came since."""
        obeyed = recall(self._memory)
        if obeyed is None or obeyed.digest != digest(text):
            return False
        if processes.is_master(obeyed.master):
            return True
        if processes.master_of(obeyed.pid_file):
            return False
        # After a reboot the apps may come first. What ran by this text still does, what starts reads it.
        self._warn_once(
            f"nginx does not run ({obeyed.pid_file} names no master). It will read {self._file} when it starts."
        )
        return True

    def _master(self) -> Process | None:
        """The running master: the one that was seen to obey, else the one in its place."""
        obeyed = recall(self._memory)
        if obeyed:
            known = processes.is_master(obeyed.master)
            return obeyed.master if known else processes.master_of(obeyed.pid_file)
        try:
            setup = program.inspect(program.choose(self._binary), self._config)
        except UnmovedError:
            return None
        return processes.master_of(setup.pid_file)

    def _require_included(self, setup: program.Setup) -> None:
        if self._file.path.resolve() not in setup.files:
            raise UnmovedError(
                f"nginx does not include {self._file}.",
                fact=f"It is not among the files that {setup.main} leads to.",
                cure=f"Add this line to its http block, and type the command again:\n\n    include {self._file};\n",
            )

    def _running(self, setup: program.Setup) -> Process:
        master = processes.master_of(setup.pid_file)
        if master is None:
            raise UnmovedError(
                "nginx does not run.",
                fact=f"{setup.pid_file} names no master of nginx.",
                cure="Start it (`systemctl start nginx`, or as you do), and type the command again.",
            )
        earlier = processes.master_of(setup.pid_file.with_name(f"{setup.pid_file.name}.oldbin"))
        if earlier:
            raise UnmovedError(
                "nginx is being replaced by another version of itself, and both serve.",
                fact=f"Its earlier master is pid {earlier.pid}.",
                cure=f"End that upgrade first: `kill -QUIT {earlier.pid}`.",
            )
        return master

    def _reload(self, master: Process, setup: program.Setup) -> None:
        log = setup.error_log and LogTail(Appended(setup.error_log))
        processes.reload(master, lambda: program.complaint("\n".join(log.lines())) if log else "")
        if not setup.patient:
            self._warn_once(_LOSS.format(version=".".join(map(str, setup.version))))

    # -- its file -------------------------------------------------------------------------------

    def _restore(self, earlier: str | None, *, refused: bool) -> None:
        """Put the earlier file back. Where there was none, only a refused one goes: without it nginx can't start."""
        if earlier is not None:
            self._file.write(earlier)
        elif refused:
            self._file.path.unlink(missing_ok=True)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)
