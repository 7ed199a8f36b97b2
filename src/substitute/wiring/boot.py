"""A root, as seen by what brings it back after a reboot."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from substitute import autostart as boot
from substitute.autostart.command import Command, command_for
from substitute.linux.init_system import Machine
from substitute.linux.owner import owner_of, require_owner
from substitute.values import dataclass
from substitute.wiring.opening import find_root, open_site

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.errors import ConfigError
    from substitute.core.model.events import Emit


@dataclass(frozen=True)
class BootSite:
    """A root, as seen by what brings it back after a reboot."""

    root: Path
    user: str
    """Whose the root's state is."""
    error: ConfigError | None = None
    """What is wrong with substitute.toml, where that is known."""

    def starter(self, *, installing: bool = False) -> boot.Starter:
        """What brings this root back after a reboot. UsageError where nothing can, or where substitute.toml is wrong.

        A line of cron's runs as whose crontab it is in, so nobody else can install it.
        """
        if installing and self.error:
            raise self.error
        found = boot.starter(self.root, Machine.this())
        if installing and found.kind == "cron":
            require_owner(self.root, sys.argv[1:])
        return found

    def command(self) -> Command:
        """What is run at boot."""
        return command_for(self.root, self.user)


def open_boot(root_option: str | Path | None, emit: Emit) -> BootSite:
    """What is needed to have a root come back after a reboot. Root may do so for another user's root as well.

    Raises ConfigError and SubstituteError.
    """
    root = find_root(root_option)
    owner = owner_of(root)
    if not owner.is_another or os.geteuid():
        # What cannot be opened now can't be at boot.
        return BootSite(root, owner.name.removeprefix("#"), open_site(root, emit).error)
    return BootSite(root, owner.name.removeprefix("#"))
