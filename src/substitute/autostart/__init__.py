"""What brings a root back after a reboot: a unit of systemd, or a line of cron's where there is no systemd.

Both run ``substitute up``, which starts what was live and settles a deployment that was under way.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from substitute.core.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.autostart.command import Command
    from substitute.linux.init_system import Machine


class Starter(Protocol):
    """One way to have a command run at boot."""

    kind: str
    """``systemd`` or ``cron``."""

    def where(self) -> str | None:
        """Where it is written down, or None where it is not."""

    def install(self, command: Command) -> str:
        """Have `command` run at each boot; where that is written down. What was there for the root is replaced.

        Raises SubstituteError with the reason when that cannot be done.
        """

    def rest(self) -> None:
        """Try no more, in this boot, to bring up what could not be: somebody took the root down."""

    def uninstall(self) -> str | None:
        """Forget it; where it stood. What runs goes on running. None where nothing was installed."""


def starter(root: Path, machine: Machine) -> Starter:
    """The way that fits. Raises UsageError where there is none, with what the user can do."""
    if (machine.systemd and machine.root) or machine.keeps:
        from substitute.autostart.systemd import Systemd  # noqa: PLC0415

        return Systemd(root, user=not (machine.systemd and machine.root))
    if machine.crontab:
        from substitute.autostart.cron import Cron  # noqa: PLC0415

        return Cron(root)
    if machine.systemd:
        raise UsageError(
            "Nothing of yours would start at boot: your own systemd ends when you log out.",
            cure="Type `loginctl enable-linger`, then this command again.",
        )
    raise UsageError(
        "There is neither systemd nor cron.",
        cure=f"Have your init run `{sys.executable} -P -m substitute -C {root} up` as this user.",
    )
