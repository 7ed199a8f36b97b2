"""The user that an app runs as."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from substitute.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Account:
    """Somebody whose programs this process may start."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def is_another(self) -> bool:
        """Whether this process has to become it."""
        return self.uid != os.geteuid()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a login would set."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def popen(self) -> dict[str, Any]:
        """The arguments by which `subprocess.Popen` becomes this user, with all of its groups."""
        if not self.is_another:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}


def account(name: str | None) -> Account | None:
    """Whom to become for programs of the user `name`; None where none is named.

    Raises ConfigError where there is no such user, or this process may not become it.
    """
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"There is no user {name!r} on this machine.",
            cure=f"Make it (`useradd --system --create-home {name}`), or change the key user of the app.",
        ) from None
    found = Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir)
    if found.is_another and os.geteuid():
        raise ConfigError(
            f"Only root can run an app as the user {name!r}, and this is {_whoami()}.",
            cure="Remove the key user of the app, or run substitute as root.",
        )
    return found


def _whoami() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"the user with the number {os.geteuid()}"
