"""The command that is run at boot."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Command:
    """``substitute up`` of one root, as one user, with the PATH by which git, HAProxy and node are found."""

    program: tuple[str, ...]
    """What runs substitute."""
    root: Path
    user: str
    path: str

    def argv(self, *operation: str) -> list[str]:
        """The command as a list of arguments."""
        return [*self.program, "-C", str(self.root), *operation]


def command_for(root: Path, user: str) -> Command:
    """The command that runs this very substitute for `root`."""
    return Command((sys.executable, "-P", "-m", "substitute"), root, user, os.environ.get("PATH", os.defpath))
