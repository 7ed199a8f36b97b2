"""The user that an app runs as."""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import ConfigError
from substitute.io.signals import held_signals
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
        """The variables that a login would set."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def popen(self) -> dict[str, Any]:
        """The arguments by which `subprocess.Popen` becomes this user, with all of its groups."""
        if not self.is_another:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}

    @property
    def groups(self) -> list[int]:
        """All of its groups; one that has no name has no other."""
        return os.getgrouplist(self.name, self.gid)


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


@contextmanager
def acting_as(become: Account | None) -> Iterator[None]:
    """Reach files in here as `become` does, and no others: a link that it made leads nowhere it could not go itself.

    For looking at, and changing, what that user can turn into a trap at any moment. It counts for files and for this
    thread alone, so no program may be started in here. Signals are held. None, or oneself: nothing changes.
    Raises OSError where it is not possible.
    """
    if become is None or not become.is_another:
        yield
        return
    with held_signals():
        earlier = os.getgroups()
        try:
            os.setgroups(become.groups)
            _reach_files_as(become.uid, become.gid)
            yield
        finally:
            _reach_files_as(os.geteuid(), os.getegid())
            os.setgroups(earlier)


def _reach_files_as(uid: int, gid: int) -> None:
    """setfsuid(2), which takes root's power over files away with it, and gives it back."""
    import ctypes  # noqa: PLC0415  only where somebody else is become

    libc = ctypes.CDLL(None)
    for change, wanted in ((libc.setfsgid, gid), (libc.setfsuid, uid)):
        change.restype = ctypes.c_uint
        change(ctypes.c_uint(wanted))  # it tells of no failure, only who it was before
        if change(ctypes.c_uint(-1)) != wanted:
            raise PermissionError(f"This process cannot reach files as the user with the number {uid}.")


def number_of(name: str) -> int | None:
    """The number of the user `name`; None where there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _whoami() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"the user with the number {os.geteuid()}"
