"""Programs that were not started here: which process of theirs is the main one, and what keeps it running."""

from __future__ import annotations

import json
import os
import pwd
import re
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING

from substitute.core.model.environment import absolute_places
from substitute.core.model.errors import RuntimeFailedError, UsageError
from substitute.core.polling import wait_while
from substitute.core.ports.strangers import Keeper, Stranger
from substitute.linux import listeners, processes
from substitute.linux.containers import UNIT_LABEL, client_of, container_of, is_apart, of_many, proxies_like
from substitute.linux.init_system import enclosing_service
from substitute.linux.programs import find_program
from substitute.linux.subprocesses import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint

_USUAL = {"PATH": absolute_places("")}
_TICK, _KILL_PATIENCE, _ANSWER = 0.01, 5.0, 10.0
_PM2 = re.compile(r"PM2 v\d")
"""``PM2 v6.0.14: God Daemon (/root/.pm2)``, of which only as much is left as its first command line was long."""


class Listening:
    """See `core.ports.strangers.Strangers`."""

    def find(self, endpoint: Endpoint) -> Stranger | None:
        """Ask the kernel: the topmost process that holds the listening socket, its cgroup, its ancestors."""
        wanted = {found.inode for found in listeners.on(endpoint)}
        if not wanted:
            return None
        holders = {pid for pid in processes.every() if listeners.sockets_of(pid) & wanted}
        pid = _main(holders, endpoint)
        process = processes.identify(pid)
        if process is None:
            return None
        uid = max(processes.users(pid), default=0)
        # A container's directory is none of this machine's, even where there is one of that name.
        directory = Path("/") if is_apart(pid) else _directory(pid)
        return Stranger(process, directory, _other_user(uid), _keeper(pid, endpoint))

    def end(self, process: Process, *, timeout: float, signal: str) -> bool:
        """Its children may be the workers of one that ends first."""
        family = [process, *filter(None, map(processes.identify, processes.descendants(process.pid)))]
        processes.signal_process(process, Signals[signal])
        left = wait_while(lambda: [one for one in family if processes.is_alive(one)], timeout, _TICK)
        if not left:
            return False
        for one in left:
            processes.signal_process(one, SIGKILL)
        if left := wait_while(
            lambda: [one for one in left if processes.is_alive(one)], _KILL_PATIENCE, _TICK
        ):
            raise RuntimeFailedError(f"Process {left[0].pid} cannot be killed.")
        return True


def _main(holders: set[int], endpoint: Endpoint) -> int:
    """The one that started the others."""
    if not holders:
        raise UsageError(
            f"What listens on {endpoint} belongs to another user: only root can adopt it.",
            cure="Type it as root, or have the app run as you do.",
        )
    if any(processes.name(pid) == "systemd" or pid == 1 for pid in holders):
        raise UsageError(
            f"systemd itself listens on {endpoint}: the app is started by a socket unit.",
            cure="Start it without the socket unit, then adopt it.",
        )
    for pid in holders:
        if of_many(pid):
            raise UsageError(
                f"{processes.name(pid)} (pid {pid}) holds port {endpoint.port} for a container: for which one can't "
                "be told.",
                cure="Start the container on the host's network (`--network host`), then adopt it.",
            )
    tops = {pid for pid in holders if processes.parent(pid) not in holders}
    first = min(tops)
    if tops <= {first, *proxies_like(first)}:
        return first
    # Each has a socket of its own (SO_REUSEPORT). Whoever started them for one app has not set them apart.
    above = {processes.parent(pid) for pid in tops}
    if len(above) == 1 and (main := above.pop()) and tops <= processes.group_members(os.getpgid(main)):
        return main
    names = ", ".join(f"{processes.name(pid)} (pid {pid})" for pid in sorted(holders))
    raise UsageError(f"Several programs listen on {endpoint}: {names}.")


def _keeper(pid: int, endpoint: Endpoint) -> Keeper | None:
    """What would start it again once it is told to end; None where nothing is known to."""
    found = _container(pid, endpoint) or _pm2(pid) or _supervisor(pid) or _unit(pid)
    if found is None and is_apart(pid):
        raise UsageError(
            f"What listens on {endpoint} ({processes.name(pid)}, pid {pid}) runs in a container which is neither "
            "Docker's nor Podman's: how to stop it is not known.",
        )
    if found and found.user and os.geteuid() and _other_user(os.geteuid()) != found.user:
        raise UsageError(
            f"{found.called} belongs to {found.user}.", cure=f"Type it as root or as {found.user}."
        )
    return found


def _container(pid: int, endpoint: Endpoint) -> Keeper | None:
    found = container_of(pid, endpoint.port)
    if found is None:
        return None
    engine, which = found
    names = _said([engine, "ps", "--filter", which, "--format", "{{.Names}}"]).split()
    if not names:
        raise UsageError(
            f"The container on {endpoint} is not among those of `{engine} ps`.", cure="Type it as root."
        )
    if len(names) > 1:
        raise UsageError(f"Several containers publish port {endpoint.port}: {', '.join(names)}.")
    name = names[0]
    client = client_of(engine, name)
    unit = _unit(client) if client else None
    if engine == "podman" and (called := _said([engine, "inspect", "--format", UNIT_LABEL, name])):
        unit = _keeper_of_unit(["systemctl", "--user"] if os.geteuid() else ["systemctl"], called)
    if unit:  # which would start it again
        return unit
    return Keeper(
        f"the container {name}",
        start=(engine, "start", name),
        stop=(engine, "stop", name),
        # Podman's `update` has no --restart before 5.1.
        forget=f"{engine} rm {name}" if engine == "podman" else f"{engine} update --restart=no {name}",
        environment=_environment(),
    )


def _pm2(pid: int) -> Keeper | None:
    for one in _lineage(pid):
        if _PM2.match(_text(one, "cmdline")):
            break
    else:
        return None
    if one == pid:  # in cluster mode it listens itself, and gives its workers what it knows of them as JSON
        told = [_variables(child).get("pm2_env") for child in processes.descendants(one)]
        given = [
            known for known in map(_parsed, filter(None, told)) if known.get("exec_mode") == "cluster_mode"
        ]
    else:
        given = [_variables(pid)]
    names = {variables["name"] for variables in given if "name" in variables}
    if len(names) != 1:
        which = ", ".join(sorted(names)) or "none is named"
        raise UsageError(f"Which app of PM2's listens there is not clear: {which}.")
    name, path = names.pop(), str(given[0].get("PATH", ""))
    program = find_program("pm2", path=f"{absolute_places(path)}:{os.environ.get('PATH', '')}")
    if program is None:
        raise UsageError("The app is kept by PM2, and the program pm2 is not found.", cure="Add it to PATH.")
    owner = max(processes.users(one), default=0)
    entry = pwd.getpwuid(owner)
    return Keeper(
        f"PM2's {name}",
        start=(program, "start", name),
        stop=(program, "stop", name),
        forget=f"pm2 delete {name} && pm2 save --force",
        user=_other_user(owner),
        environment={
            "PATH": absolute_places(path),
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "PM2_HOME": given[0].get("PM2_HOME") or f"{entry.pw_dir}/.pm2",
        },
    )


def _supervisor(pid: int) -> Keeper | None:
    given = _variables(pid)
    url, group, name = (
        given.get(f"SUPERVISOR_{key}") for key in ("SERVER_URL", "GROUP_NAME", "PROCESS_NAME")
    )
    above = [
        one
        for one in _lineage(pid)
        if any(word.endswith("supervisord") for word in processes.command_line(one)[:2])
    ]
    if not (url and group and name and above):
        return None
    argv = (_beside(above[0], "supervisorctl"), "-s", url)
    return Keeper(
        f"supervisord's {group}:{name}",
        start=(*argv, "start", f"{group}:{name}"),
        stop=(*argv, "stop", f"{group}:{name}"),
        forget="autostart=false in its section of supervisord's configuration",
        user=_other_user(max(processes.users(above[0]), default=0)),
        environment=_environment(),
    )


def _beside(pid: int, program: str) -> str:
    """The program that was installed with the one that runs as `pid`: it need not be on PATH."""
    for word in processes.command_line(pid)[:2]:
        if word.endswith("supervisord") and (found := Path(word).with_name(program)).is_file():
            return str(found if found.is_absolute() else program)
    return program


def _unit(pid: int) -> Keeper | None:
    """The service whose main process it is, or descends from in one session: not one that merely contains it."""
    text = _text(pid, "cgroup")
    unit = enclosing_service(text)
    if unit is None:
        return None
    environment, user, argv = _environment(), None, ["systemctl"]
    if manager := re.search(r"/user@(\d+)\.service/", text):
        entry = pwd.getpwuid(int(manager[1]))
        argv, user = ["systemctl", "--user"], _other_user(entry.pw_uid)
        environment |= {
            "XDG_RUNTIME_DIR": f"/run/user/{entry.pw_uid}",
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
        }
    elif os.geteuid():
        raise UsageError(
            f"The app is the systemd unit {unit}, which only root may stop.", cure="Type it as root."
        )
    main = next(
        (
            int(one)
            for one in [_said([*argv, "show", unit, "--property=MainPID", "--value"])]
            if one.isdigit()
        ),
        0,
    )
    if main not in {pid, *_lineage(pid)} or os.getsid(pid) != os.getsid(main):
        return None
    return _keeper_of_unit(argv, unit, user=user, environment=environment)


def _keeper_of_unit(
    argv: list[str], unit: str, *, user: str | None = None, environment: dict[str, str] | None = None
) -> Keeper:
    return Keeper(
        f"the systemd unit {unit}",
        start=(*argv, "start", unit),
        stop=(*argv, "stop", unit),
        forget=f"{' '.join(argv)} disable {unit}",
        user=user,
        environment=environment or _environment(),
    )


def _lineage(pid: int) -> Iterator[int]:
    """It, and those that started it."""
    one: int | None = pid
    while one:
        yield one
        one = processes.parent(one)


def _text(pid: int, file: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace")
    return ""


def _variables(pid: int) -> dict[str, str]:
    pairs = (line.partition("=") for line in _text(pid, "environ").split("\0"))
    return {name: value for name, _, value in pairs}


def _parsed(text: str) -> dict[str, str]:
    with suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}


def _directory(pid: int) -> Path:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    return Path("/")


def _other_user(uid: int) -> str | None:
    """Its name, where it is somebody else than who runs this."""
    with suppress(KeyError):
        return None if uid == os.geteuid() else pwd.getpwuid(uid).pw_name
    return None


def _environment() -> dict[str, str]:
    """For tools of the machine: nothing of the caller's but where a user's own are."""
    return dict(_USUAL) if os.geteuid() == 0 else {**_USUAL, **dict(os.environ)}


def _said(argv: list[str]) -> str:
    with suppress(OSError):
        said = capture(argv, environment=_environment(), timeout=_ANSWER)
        return said.out.strip() if said.status == 0 else ""
    return ""
