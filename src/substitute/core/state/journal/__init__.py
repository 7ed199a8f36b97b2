"""The durable record of what is live and what is under way: one SQLite file.

Write-ahead logging makes every transaction atomic whatever is killed. The writes that a power cut must not undo
also wait for the disk (``synchronous = FULL``): the beginning of a deployment, that its slot is no finished build
any more, its commit, and what is stopped by hand.

A file that is damaged is set aside, and an empty one takes its place; `core.operate.journal_recovery` fills it from
what is observed. On a full disk a reserve is given up, so that what is under way can still be settled.
"""

from __future__ import annotations

from substitute.core.state.journal.commands import Commands
from substitute.core.state.journal.crons import Crons
from substitute.core.state.journal.drills import Drills
from substitute.core.state.journal.guests import Guests
from substitute.core.state.journal.kept_versions import KeptVersions
from substitute.core.state.journal.place import Place
from substitute.core.state.journal.releases import Releases
from substitute.core.state.journal.routes import Routes
from substitute.core.state.journal.schema import VERSION
from substitute.core.state.journal.told import ToldOf

__all__ = ["VERSION", "Journal"]


class Journal(Routes, Releases, Commands, KeptVersions, Guests, Drills, Crons, Place, ToldOf):
    """The only state that `settle` believes. Each method that writes is one transaction.

    Each of its bases keeps a table, or a subject.
    """
