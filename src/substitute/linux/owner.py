"""Whose a root is. Its configuration, its hooks and its state are that user's, and nobody else works on it."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.io.files import read_regular
from substitute.linux.users import Account, acting_as

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANOTHERS = frozenset({"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS", "SUDO_UID"})
"""Variables that mean the one who typed, and not the owner."""


def owner_of(root: Path) -> Account:
    """The owner of its ``deploy``; where there is none yet, of the root, if it is root who asks, else oneself.

    A ``deploy`` that is a link belongs to whoever made the link, so that nobody can name a directory of root's.
    """
    deploy = root / "deploy"
    try:
        uids = [deploy.lstat().st_uid, deploy.stat().st_uid]
    except FileNotFoundError:
        uids = [root.stat().st_uid if os.geteuid() == 0 else os.geteuid()]
    return _account(next((uid for uid in uids if uid != os.geteuid()), os.geteuid()))


def require_owner(root: Path, arguments: Sequence[str]) -> None:
    """Raise UsageError, with what to type, where the root is another user's. `arguments` are those of the command.

    Root would run what that user's hooks and configuration say, and leave files that lock the user out.
    """
    owner = owner_of(root)
    if not owner.is_another:
        return
    cure = f"Type `{shlex.join(['sudo', '-u', owner.name, 'substitute', *arguments])}`."
    if not (root / "deploy").exists():
        cure += f" To make it yours: `chown root {shlex.quote(str(root))}`."
    raise UsageError(
        f"{root} belongs to {_shown(owner)}, and this is {_shown(_account(os.geteuid()))}.", cure=cure
    )


def become_owner(root: Path) -> None:
    """As root, turn into the owner of `root` for good: that user reads, and no file of root's is left.

    Nothing happens where root is the owner, this is not root, or the owner can't read this very program.
    """
    owner = owner_of(root)
    if not owner.is_another or os.geteuid() or not _can_run_this(owner):
        return
    os.setgroups(owner.groups)
    os.setgid(owner.gid)
    os.setuid(owner.uid)
    for name in _ANOTHERS:
        os.environ.pop(name, None)
    os.environ.update(owner.environment)


def stranger_on(path: Path, root: Path) -> Account | None:
    """Who, neither root nor oneself, owns a directory or a link on the way from `root` to `path`; None: nobody.

    What is read by that way as root is that user's to choose.
    """
    if os.geteuid() or not path.is_relative_to(root):
        return None
    here = root
    for name in path.relative_to(root).parts:
        here /= name
        try:
            seen = here.lstat()
        except OSError:  # whoever opens it is told
            return None
        if seen.st_uid and not stat.S_ISREG(seen.st_mode):
            return _account(seen.st_uid)
    return None


def _can_run_this(owner: Account) -> bool:
    """What is not imported yet would be missing: root's own installation may lie where nobody else can enter."""
    try:
        with acting_as(owner):
            return bool(read_regular(Path(__file__), limit=1) and read_regular(Path(os.__file__), limit=1))
    except OSError:
        return False


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # as in a container: the number is a name to sudo
        return Account(f"#{uid}", uid, uid, "/")
    return Account(entry.pw_name, uid, entry.pw_gid, entry.pw_dir)


def _shown(account: Account) -> str:
    return f"the user with the number {account.uid}" if account.name.startswith("#") else account.name
