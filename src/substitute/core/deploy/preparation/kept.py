"""What is in the way and only its writer may remove: kept in ``deploy/<app>/kept``, under the time and its slot."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.ports.files import Files


@dataclass(frozen=True)
class Kept:
    """Where something of the slot, or of the shared places, called `of` is kept."""

    host: Host
    app: App
    files: Files
    of: str

    def place(self, name: str) -> Path:
        """Where `name` is to be kept: nothing is there, and its directory belongs to the app's user."""
        kept = self.app.state_directory / "kept"
        self.files.open(kept)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(self.host.clock.now()))
        again = chain([""], (f"-{n}" for n in range(2, 1000)))
        places = (kept / f"{stamp}-{self.of}{one}" / name for one in again)
        return next(place for place in places if self.files.look(place) is None)
