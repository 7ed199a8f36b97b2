"""Docker, through its socket: a container for each program that has an image. dockerd keeps them running.

Every other program is kept by another runtime. So nothing but containers depends on dockerd.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import SIGTERM, Inspection, Process, Stopped
from substitute.core.polling import wait_until
from substitute.io.files import private_directory, write_atomically
from substitute.linux.containers import first_process
from substitute.linux.processes import identify, is_alive
from substitute.linux.root_names import prefix_of
from substitute.runtimes.containers import BesideBase, follow_both
from substitute.runtimes.docker import notes
from substitute.runtimes.docker.api import Absent, Api, Refused, Silent
from substitute.runtimes.docker.creation import NAME, NOT_RESTARTED, RESTARTED, ROOT, creation, labels_of
from substitute.runtimes.docker.endings import ending
from substitute.runtimes.docker.logs import Written, last, now
from substitute.runtimes.docker.notes import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from substitute.core.model.programs import Container, Program
    from substitute.core.ports.runtime import Log, Runtime

_KILL_PATIENCE = 10.0
_EARLIER = 1000
"""Lines that are kept of the containers before, which take their logs with them."""
_REAP_PATIENCE, _TICK = 3.0, 0.01
_KEPT = ["running", "restarting", "paused"]
_NO_SUCH, _NOT_SO = 404, 409


def connect(base: Runtime, root: Path, *, in_unit: bool) -> Docker:
    """Make the runtime of `root`; dockerd keeps its containers, whatever keeps all else."""
    del in_unit
    return Docker(base, root)


class Docker(BesideBase):
    """See `core.ports.runtime.Runtime`. A container is found by its name, its main process by what dockerd says."""

    def __init__(self, base: Runtime, root: Path) -> None:
        """`base` keeps what has no container."""
        super().__init__(base)
        self._root = root.resolve()
        self._prefix = prefix_of(root)
        self._run = root / "deploy" / "run"
        self._api = Api()

    def start(self, program: Program) -> Process:
        """Create its container, in the place of an earlier one of the name, and start that."""
        if program.container is None:
            with suppress(Absent, Silent):  # then dockerd has no say in what it does not keep
                self._clear(program.name, program.log)
            return self._base.start(program)
        if os.geteuid() != 0:
            raise RuntimeFailedError(
                f"{program.name} cannot run in a container: Docker is used as root only.",
                fact="Which process listens on a port of a container, another user cannot see.",
                cure="Have root own the root directory.",
            )
        self._clear(program.name, program.log)
        container = self._create(program, program.container)
        log = self._written(program.name, now())
        try:
            self._api.call("POST", f"/containers/{container}/start")
        except Refused as refused:
            self._remove(container)
            raise _not_started(program.name, refused) from refused
        info = self._settled(self._api.get(f"/containers/{container}/json"))
        process = _main(info)
        if process is None:
            from substitute.runtimes.exited_at_once import exited_at_once  # noqa: PLC0415  # of this error alone

            ended = ending(info["State"]) or "unknown"
            self.stop(program.name, None, timeout=program.stop_timeout)  # else it would be tried for ever
            raise exited_at_once(program.name, ended, log)
        return process

    def inspect(self, name: str) -> Inspection:
        """Ask dockerd. Raises Silent."""
        info = self._known(name)
        if info is None:
            return self._base.inspect(name)
        return Inspection(
            _main(info),
            exit=ending(info["State"]),
            wanted=info["State"]["Running"] and info["HostConfig"]["RestartPolicy"]["Name"] == RESTARTED,
            restarts=info["RestartCount"],
        )

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Have dockerd stop it, and not start it again; nothing outlives the main process of a container."""
        began = time.monotonic()
        try:
            info = self._known(name)
            ended = [self._stop(name, info, began + timeout)] if info else []
        except Absent:  # it died in this moment: what it kept goes on
            info, ended, process = None, [], process or self.trace(name)
        if info is None or (process and is_alive(process)):
            left = max(0.0, began + timeout - time.monotonic())
            ended.append(self._base.stop(name, process, timeout=left, signal=signal))
        return Stopped.of(ended, seconds=time.monotonic() - began)

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Have dockerd signal it: it would start again what ends without its doing."""
        if info := self._known(name):
            self._begin_to_stop(name, info)
        else:
            self._base.terminate(name, process, signal=signal)

    def freeze(self, name: str) -> None:
        """Have dockerd pause it: the freezer of its control group."""
        info = self._known(name)
        if info is None:
            self._base.freeze(name)
        elif not info["State"]["Paused"]:
            self._api.call("POST", f"/containers/{info['Id']}/pause")

    def thaw(self, name: str) -> None:
        """Have dockerd unpause it, where it is paused: to ask is quick."""
        if info := self._known(name):
            self._thaw(info)
        else:
            self._base.thaw(name)

    def trace(self, name: str) -> Process | None:
        """Ask dockerd. Where that is gone or silent, look in the control group of the container that was noted."""
        try:
            info = self._find(name)
        except (Absent, Silent):
            note = self._note(name)
            found = first_process(note.container) if note else None
        else:
            found = _main(info) if info else None
        return found or self._base.trace(name)

    def kept(self) -> set[str]:
        """The containers with the label of the root, and what the other runtime keeps. Raises Silent."""
        with suppress(Absent):
            return {one["Labels"][NAME] for one in self._list(_KEPT)} | self._base.kept()
        return self._base.kept()

    def abandon(self) -> None:
        """Each container is told not to be started again; its process stays where it is."""
        with suppress(Absent, Silent, Refused):
            for one in self._list(_KEPT):
                self._never_again(one["Id"])
        self._base.abandon()

    def log(self, name: str, file: Path) -> Log:
        """From dockerd, where the name has a container by the time that it is read."""
        return _Either(self._written(name, now()), self._base.log(name, file))

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """From dockerd, and before them those that were kept of earlier containers."""
        return self._last_lines(name, file, count, None)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Both runtimes: a name may go from one to the other meanwhile."""
        begin = now()
        follow_both(
            self._base,
            logs,
            on_line,
            inside=[name for name in logs if self._known(name)],
            last=lambda name: self._last_lines(name, *logs[name], begin),
            written={name: self._written(name, begin) for name in logs},
        )

    def shutdown(self) -> None:
        """Remove what was left of this root. dockerd itself is the machine's."""
        with suppress(Absent, Silent, Refused):
            for one in self._list(["created", "exited", "dead"]):
                self._remove(one["Id"])
                self._note_file(one["Labels"][NAME]).unlink(missing_ok=True)
        self._base.shutdown()

    # -- finding --------------------------------------------------------------------------------

    def _called(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _find(self, name: str) -> dict[str, Any] | None:
        """What dockerd tells of the container of `name`; None where there is none of ours. Raises as the API does."""
        try:
            info: dict[str, Any] = self._api.get(f"/containers/{self._called(name)}/json")
        except Refused as refused:
            if refused.status == _NO_SUCH:
                return None
            raise
        return info if _is_of(info, self._root) else None

    def _known(self, name: str) -> dict[str, Any] | None:
        """The same; None also where no dockerd runs, and where it is silent about what the other runtime keeps."""
        try:
            return self._find(name)
        except Absent:
            return None
        except Silent:
            if self._base.inspect(name).wanted:
                return None
            raise

    def _list(self, states: list[str]) -> list[dict[str, Any]]:
        filters = {"label": [labels_of(self._root)], "status": states}
        found: list[dict[str, Any]] = self._api.get("/containers/json", all=True, filters=filters)
        return found

    def _note_file(self, name: str) -> Path:
        return self._run / f"{name}.container"

    def _note(self, name: str) -> Note | None:
        return notes.read(self._note_file(name))

    # -- starting -------------------------------------------------------------------------------

    def _clear(self, name: str, log: Path) -> None:
        """Have the name free. Raises RuntimeFailedError where something runs under it, or is somebody else's."""
        info = self._find(name)
        if info is None:
            return
        if _main(info):
            raise RuntimeFailedError(f"{name} runs already.")
        self._stop(name, info, 0.0)  # what waits for its next try, or has given up
        with suppress(Refused):  # one that never ran has none
            lines = self._last_lines(name, log, _EARLIER, None)
            private_directory(log.parent)
            write_atomically(_earlier(log), "".join(f"{line}\n" for line in lines))
        self._remove(info["Id"])

    def _create(self, program: Program, container: Container) -> str:
        driver = self._api.get("/info")["LoggingDriver"]
        body = creation(program, container, self._root, log_driver=driver)
        called = self._called(program.name)
        try:
            created = self._api.call("POST", "/containers/create", body, query={"name": called})
        except Refused as refused:
            theirs = refused.status == _NOT_SO
            cure = f"`docker rm --force {called}` removes it." if theirs else ""
            raise _not_started(program.name, refused, cure) from refused
        private_directory(self._run)
        notes.write(self._note_file(program.name), Note(created["Id"]))
        found: str = created["Id"]
        return found

    def _remove(self, container: str) -> None:
        """Remove it, with its anonymous volumes."""
        with self._unless_ended():
            self._api.call("DELETE", f"/containers/{container}", query={"force": True, "v": True})

    def _settled(self, info: Mapping[str, Any]) -> Mapping[str, Any]:
        """What dockerd tells of a container that was started, and of its end, if that has come already.

        Raises RuntimeFailedError where dockerd runs elsewhere: its numbers would be those of strangers here.
        """
        pid = info["State"]["Pid"]
        if not pid or _main(info):
            return info

        def noted() -> Mapping[str, Any] | None:
            again: dict[str, Any] = self._api.get(f"/containers/{info['Id']}/json")
            return again if again["State"]["Pid"] != pid else None

        if found := wait_until(noted, _REAP_PATIENCE, _TICK):
            return found
        self._remove(info["Id"])
        raise RuntimeFailedError(
            "Docker runs its containers where this machine does not see their processes.",
            fact=f"The main process of {info['Name'][1:]} would be {pid}.",
            cure="Use a dockerd of this machine itself, in no virtual machine and in no container.",
        )

    # -- stopping -------------------------------------------------------------------------------

    def _begin_to_stop(self, name: str, info: Mapping[str, Any]) -> None:
        """The stop signal, unless it had it already. It also ends the wait for a next try."""
        container, process = info["Id"], _main(info)
        note = self._note(name)
        if process and note and note.told == process:
            return
        self._never_again(container)  # at no boot either
        if not info["State"]["Running"]:
            return
        self._thaw(info)
        signal = info["Config"].get("StopSignal") or SIGTERM
        with self._unless_ended():
            self._api.call("POST", f"/containers/{container}/kill", query={"signal": signal})
        if process:
            private_directory(self._run)
            notes.write(self._note_file(name), Note(container, told=process))

    @contextmanager
    def _unless_ended(self) -> Iterator[None]:
        """It may end, or be removed by somebody, at any moment: that is what is wanted."""
        try:
            yield
        except Refused as refused:
            if refused.status not in {_NO_SUCH, _NOT_SO}:
                raise

    def _stop(self, name: str, info: Mapping[str, Any], deadline: float) -> Stopped:
        began = time.monotonic()
        self._begin_to_stop(name, info)
        killed = not self._ends_within(info["Id"], deadline - time.monotonic())
        if killed:
            with self._unless_ended():
                self._api.call("POST", f"/containers/{info['Id']}/kill", query={"signal": "SIGKILL"})
            if not self._ends_within(info["Id"], _KILL_PATIENCE):
                raise RuntimeFailedError(
                    f"{name} cannot be killed.", fact=f"See `docker inspect {info['Name'][1:]}`."
                )
        return Stopped(killed=killed, seconds=time.monotonic() - began)

    def _ends_within(self, container: str, seconds: float) -> bool:
        """Whether it runs no more, and waits for no next try, within `seconds`."""
        try:
            with self._unless_ended():
                if seconds <= 0:
                    return not self._api.get(f"/containers/{container}/json")["State"]["Running"]
                wait = f"/containers/{container}/wait"
                self._api.call("POST", wait, query={"condition": "not-running"}, patience=seconds)
        except Silent:
            return False
        return True

    def _thaw(self, info: Mapping[str, Any]) -> None:
        if info["State"]["Paused"]:
            self._api.call("POST", f"/containers/{info['Id']}/unpause")

    def _never_again(self, container: str) -> None:
        """Have it not started again. dockerd refuses that of one that ended just now, until it has noted the end."""
        deadline = time.monotonic() + _REAP_PATIENCE
        policy = {"RestartPolicy": {"Name": NOT_RESTARTED}}
        while True:
            try:
                self._api.call("POST", f"/containers/{container}/update", policy)
            except Refused as refused:
                if refused.status == _NO_SUCH:
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(_TICK)
            else:
                return

    # -- reading --------------------------------------------------------------------------------

    def _written(self, name: str, since: int) -> Written:
        return Written(self._api, lambda: self._find(name), since)

    def _last_lines(self, name: str, file: Path, count: int, until: int | None) -> list[str]:
        info = self._known(name)
        if info is None:
            return self._base.last_lines(name, file, count)
        found = last(self._api, info["Id"], count, until=until)
        with suppress(OSError):
            found = [*_earlier(file).read_text(encoding="utf-8").splitlines(), *found]
        return found[-count:] if count else []


class _Either:
    """The lines of a container, or of the program that the other runtime starts under its name.

    Only one of the two is read: dockerd says whether there is a container.
    """

    def __init__(self, contained: Written, plain: Log) -> None:
        self._contained = contained
        self._plain = plain

    def lines(self, *, ended: bool = False) -> list[str]:
        found = self._contained.lines(ended=ended)
        return found if self._contained.is_there else self._plain.lines(ended=ended)


def _not_started(name: str, refused: Refused, cure: str = "") -> RuntimeFailedError:
    said = refused.fact.lower()
    if "no such image" in said:
        cure = "`substitute restart` fetches the image of the live version again, or builds it."
    elif "already allocated" in said or "address already in use" in said:
        cure = "`ss -ltnp` shows what has the port: end that, or change `ports`."
    return RuntimeFailedError(f"{name} cannot be started.", fact=refused.fact, cure=cure)


def _main(info: Mapping[str, Any]) -> Process | None:
    """The main process as this machine's kernel has it: a number of another machine's would be a stranger here."""
    pid = info["State"]["Pid"]
    process = identify(pid) if pid else None
    return process if process and info["Id"] in _cgroup(pid) else None


def _cgroup(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    return ""


def _is_of(info: Mapping[str, Any], root: Path) -> bool:
    return f"{ROOT}={(info['Config'].get('Labels') or {}).get(ROOT)}" == labels_of(root)


def _earlier(log: Path) -> Path:
    """Beside the log that a program has which is in no container: that one is followed as a file."""
    return log.with_suffix(".earlier")
