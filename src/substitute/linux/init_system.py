"""What this machine has to start programs and to keep them, and what keeps this process: no program is asked."""

from __future__ import annotations

import os
import pwd
import re
from contextlib import suppress
from pathlib import Path

from substitute.linux.programs import find_program
from substitute.values import dataclass


@dataclass(frozen=True)
class Machine:
    """The machine, as the user sees it who asks."""

    systemd: bool
    """systemd is the init."""
    root: bool
    """The user is root."""
    manager: bool
    """The user's own systemd runs; root's is the system's."""
    lingers: bool
    """The user's own systemd runs from boot on, and past logout."""
    crontab: bool

    @classmethod
    def this(cls) -> Machine:
        """This one."""
        uid = os.geteuid()
        runtime = run_directory(uid) if uid else Path("/run")
        return cls(
            systemd=Path("/run/systemd/system").is_dir(),  # sd_booted(3)
            root=uid == 0,
            manager=(runtime / "systemd" / "private").exists(),
            lingers=uid == 0 or Path("/var/lib/systemd/linger", _user(uid)).exists(),
            crontab=find_program("crontab") is not None,
        )

    @property
    def keeps(self) -> bool:
        """A systemd of this user's keeps programs, past logout and across reboots."""
        return self.systemd and self.manager and self.lingers


def run_directory(uid: int) -> Path:
    """Where what runs for a user has its sockets, his systemd too.

    systemd's own place counts wherever it is there, whatever the environment says: `su`, `sudo` and cron hand on that
    of another user, or none.
    """
    own = Path(f"/run/user/{uid}")
    return own if own.is_dir() else Path(os.environ.get("XDG_RUNTIME_DIR") or own)


def enclosing_service(cgroup: str | None = None) -> str | None:
    """The systemd service that this process runs in, and whose end would end what it starts; None in a login.

    `cgroup` is the text of ``/proc/self/cgroup``. A user's own manager and remote logins outlive a command.
    """
    units = re.findall(r"([^/\n]+\.service)", _own_cgroup() if cgroup is None else cgroup)
    last = units[-1] if units else None
    lasting = last is None or re.match(r"(user@|sshd?|cron|substitute)", last)
    return None if lasting else last


def _own_cgroup() -> str:
    with suppress(OSError):
        return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
