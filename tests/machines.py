"""A whole machine with a real systemd: boots in half a second, and code of a test can run inside it.

A test that is marked ``machine`` runs inside (`conftest.py`), as root or as a user who has a manager of his own. One
that is not can boot a machine itself, `call` functions in it, and `reboot` it.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest

from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = TypeVar("Result")

USER = "deployer"
"""Has a user manager, which lingers."""
AFTER_RESCUE = ["try-restart", "user@4242.service"]
"""For systemctl. The rescue target ends the system's message bus, and a user's manager does not look for the next one:
without it, it can move no process of a login into a scope."""
UNAVAILABLE = (
    "" if os.geteuid() == 0 and Path("/lib/systemd/systemd").exists() else "needs root, and systemd's files"
)
_NAMESPACES = ("cgroup", "ipc", "uts", "net", "pid", "mnt")
_PATIENCE = 60.0
_TEST_PATIENCE = 120
"""Seconds for a test inside: where it stands then is shown, as pytest-timeout does outside."""
_NEEDED = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))
_NEW_THERE = (Path("/tmp"), Path("/run"), Path("/dev"))  # noqa: S108  # of outside: looked at, not written
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A machine, from entering to leaving. What is written to its disk survives `reboot`, /tmp and /run do not."""

    def __init__(self, *, unified: bool = False, engine: bool = False, shows: tuple[Path, ...] = ()) -> None:
        """With `unified` it has cgroup v2 alone, whatever controllers that has here.

        With `engine` it has all controllers, and /var/lib/containerd and /var/lib/kubelet are no overlays: containers
        can run in it. The directories of `shows` are seen inside, wherever they lie here.
        """
        self._shows = shows
        self._options = {"UNIFIED": "1" if unified else "", "ENGINE": "1" if engine else ""}
        self._directory = Path(tempfile.mkdtemp(prefix="machine-"))
        self._power: subprocess.Popen[bytes] | None = None
        self._maker = os.getpid()

    def __enter__(self) -> Self:
        self.switch_on()
        try:
            self.await_boot(0)
            for path in _NEEDED:
                self._open_to_users(path)
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def switch_on(self) -> None:
        """Begin to boot; `await_boot` waits. It ends with the thread that called this."""
        self._power = subprocess.Popen(
            [Path(__file__).with_name("machine.sh"), self._directory],
            start_new_session=True,
            env={**os.environ, **self._options, "SHOWN": "\n".join(_shown(self._shows))},
        )

    @property
    def control_group(self) -> str:
        """The name of the group in which all of it runs, in each hierarchy."""
        assert self._power, "it was switched on"
        return f"substitute-{self._power.pid}"

    @property
    def init(self) -> int:
        """The pid of its init, here; 0 while there is none."""
        try:
            return int((self._directory / "init.pid").read_text())
        except FileNotFoundError:
            return 0

    def down(self) -> None:
        """Switch it off, and throw it away."""
        if os.getpid() != self._maker:
            # A test inside a machine is a copy of this process, and ends all fixtures.
            if self._power:
                self._power.returncode = 0  # or the copy warns that it still runs
            return
        if self._power:
            self._power.terminate()
            self._power.wait()
        shutil.rmtree(self._directory)

    def reboot(self) -> None:
        """Cut the power, and boot again from the same disk."""
        before = self.init
        os.kill(before, signal.SIGKILL)
        self.await_boot(before)

    def power_off(self) -> None:
        """Cut the power until `power_on`: all that runs in it is gone at once."""
        (self._directory / "off").touch()
        init = self.init
        os.kill(init, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{init}").exists(), "the machine is dead")

    def power_on(self) -> None:
        """Boot again from the same disk, and return when all is up."""
        before = self.init
        (self._directory / "off").unlink()
        self.await_boot(before)

    def command(self, *argv: str, user: str | None = None) -> list[str]:
        """What runs `argv` inside."""
        environment = [f"{name}={value}" for name, value in environment_of(user or "root").items()]
        switch = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return ["nsenter", "-t", str(self.init), "-a", "env", "-i", *environment, *switch, *argv]

    def run(
        self, *argv: str, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        done = subprocess.run(self.command(*argv, user=user), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def call(self, function: Callable[[], Result], *, user: str | None = None) -> Result:
        """Run `function` in a process inside, and return what it returned; what it raised is shown.

        It may be a closure: the process is a copy of this one.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._be_inside(function, user, writing)
        os.close(writing)
        try:
            with os.fdopen(reading, "rb") as pipe:
                data = pipe.read()
        except BaseException:
            os.kill(child, signal.SIGKILL)  # what runs inside ends with it
            raise
        finally:
            os.waitpid(child, 0)
        assert data, "the process inside died without a word"
        good, result = pickle.loads(data)  # noqa: S301  # our own child wrote it
        assert good, result
        return result  # type: ignore[no-any-return]

    def _be_inside(self, function: Callable[[], object], user: str | None, writing: int) -> None:
        """In the copy: enter, run, tell, end. Never returns."""
        try:
            here = Path.cwd()
            _enter(self.init)
            if inner := os.fork():  # the namespace of pids is that of children only
                os.close(writing)
                os.waitpid(inner, 0)
                os._exit(0)
            _die_with_parent()
            os.chdir(here)
            _become(user)
            answer = pickle.dumps((True, function()))
        except BaseException:  # noqa: BLE001  # whatever it is, the other side shows it
            answer = pickle.dumps((False, traceback.format_exc()))
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)

    def await_boot(self, before: int) -> None:
        """Return when another init than `before` has brought everything up."""
        deadline = time.monotonic() + _PATIENCE
        while self.init in {0, before} or not Path(f"/proc/{self.init}/root/run/systemd/private").exists():
            assert self._power, "it was switched on"
            assert self._power.poll() is None, (self._directory / "console.log").read_text()
            assert time.monotonic() < deadline, "it does not boot"
            time.sleep(0.01)
        said = self.run("systemctl", "is-system-running", "--wait", check=False).stdout
        assert said.strip() in {"running", "degraded"}, said

    def _open_to_users(self, path: Path) -> None:
        """Let every user search the directories on the way to `path`; only inside, of course."""
        self.run("chmod", "a+rx", *(str(parent) for parent in [path, *path.parents]))


def _shown(more: tuple[Path, ...]) -> list[str]:
    """What of outside would be hidden, and is needed; a directory within another one is shown with it."""
    wanted = dict.fromkeys((*_NEEDED, *more))
    hidden = [path for path in wanted if any(path.is_relative_to(new) for new in _NEW_THERE)]
    return [str(path) for path in hidden if not any(path.is_relative_to(o) for o in hidden if o != path)]


def environment_of(user: str) -> dict[str, str]:
    """What somebody who logs in has."""
    entry = {"root": (0, "/root"), USER: (4242, f"/home/{USER}")}[user]
    found = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": entry[1], "USER": user, "LOGNAME": user}
    if entry[0]:
        found |= {"XDG_RUNTIME_DIR": f"/run/user/{entry[0]}"}
        found |= {"DBUS_SESSION_BUS_ADDRESS": f"unix:path=/run/user/{entry[0]}/bus"}
    return found


def _enter(init: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptors = [os.open(f"/proc/{init}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES]
    for descriptor in descriptors:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _become(user: str | None) -> None:
    path = os.environ["PATH"]
    os.environ.clear()
    os.environ.update(environment_of(user or "root"))
    if user:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    else:
        os.environ["PATH"] = path


def _overdue(*_: object) -> None:
    pytest.fail(f"not within {_TEST_PATIENCE}s")


def reports_from_inside(machine: Machine, item: Any, user: str | None) -> list[Any]:
    """Run a test inside `machine`; the reports of its phases."""
    from _pytest.runner import runtestprotocol  # noqa: PLC0415  # as pytest-forked does

    hook, config = item.config.hook, item.config

    def run() -> list[Any]:
        # pytest's own directory is not there; this one is on the machine's disk, and not in its /tmp.
        signal.signal(signal.SIGALRM, _overdue)
        signal.alarm(_TEST_PATIENCE)
        config._tmp_path_factory._basetemp = Path(
            tempfile.mkdtemp(dir="/srv" if user is None else Path.home())
        )
        found = runtestprotocol(item, log=False, nextitem=None)
        return [hook.pytest_report_to_serializable(config=config, report=report) for report in found]

    return [
        hook.pytest_report_from_serializable(config=config, data=data)
        for data in machine.call(run, user=user)
    ]
