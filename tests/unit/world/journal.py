"""The real journal, on a disk that may be full."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from substitute.core.state.journal import Journal, apps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import SlotName
    from substitute.core.ports.balancer import Backend
    from tests.unit.world.world import World


_made_before = lru_cache(10_000)(apps._slot)
apps._slot = lambda row, instances: _made_before(row, tuple(instances))
"""Most rows are as they were before the last write, and a record is made from each for every rule."""


class Statements:
    """A connection on which a signal may come right after a transaction has begun or ended."""

    def __init__(self, connection: sqlite3.Connection, world: World) -> None:
        self._connection = connection
        self._world = world

    def execute(self, statement: str, *parameters: object) -> object:
        done = self._connection.execute(statement, *parameters)  # type: ignore[arg-type]
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self._world.statement()
        return done

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class ModelJournal(Journal):
    """The real one. A deployer may be killed, or the disk be full, in each transaction."""

    def __init__(self, world: World) -> None:
        super().__init__(world.journal_file)
        self._world = world
        self._db = cast("sqlite3.Connection", Statements(self._db, world))

    def backends(self) -> list[Backend]:
        self._world.look()
        return super().backends()

    def share(self, app: str, shares: Mapping[SlotName, int]) -> None:
        self._world.rules.signposts(app)
        super().share(app, shares)

    def commands(self, app: str) -> list[Process]:
        self._world.look()
        return super().commands(app)

    def on_the_disk(self) -> bytes:
        """The whole of it, as it would be found after a power cut right now."""
        return self._db.serialize()

    @contextmanager
    def _write(self, *, durably: bool = False) -> Iterator[sqlite3.Connection]:
        with super()._write(durably=durably) as db:
            yield db
            what = sys._getframe(2).f_code.co_name  # a name in the story tells more than "a write"
            self._world.deed(f"journal: {what}", sqlite3.OperationalError("database or disk is full"))
        if durably:
            self._world.disk = self.on_the_disk()
