"""A configuration that changes while a version serves, and a journal of the version of substitute before this one."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from substitute.core.state.journal.schema import SCHEMAS
from tests.e2e.site import APP
from tests.e2e.traffic import under_load

if TYPE_CHECKING:
    from tests.e2e.site import Site

WITHOUT_UP = APP.read_text().replace(
    '    if method != "POST":\n',
    '    if path == "/up":\n        writer.write(b"HTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n")\n'
    '    elif method != "POST":\n',
)


def as_the_first_version_left_it(site: Site) -> None:
    """The same rows in the tables that it had; what runs in a slot stood in the slot's row."""
    path = site.root / "deploy" / "journal.db"
    earlier = path.with_name("earlier.db")
    with closing(sqlite3.connect(earlier, isolation_level=None)) as db:
        db.executescript(f"{SCHEMAS[0]} PRAGMA user_version = 1;")
        db.execute("ATTACH ? AS now", (str(path),))
        for (table,) in db.execute(
            "SELECT name FROM main.sqlite_schema WHERE sql LIKE 'CREATE TABLE %'"
        ).fetchall():
            columns = ", ".join(name for _, name, *_ in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")  # noqa: S608
        db.execute(
            "UPDATE main.slot SET process = (SELECT process FROM now.instance"
            " WHERE instance.app = slot.app AND instance.slot = slot.name)"
        )
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    earlier.rename(path)


def test_from_an_earlier_substitute_over_a_changed_configuration_to_the_next_version_and_back(
    site: Site,
) -> None:
    assert APP.read_text() != WITHOUT_UP
    site.repository.commit("1", app=WITHOUT_UP)
    site.run("deploy")
    as_the_first_version_left_it(site)
    ports = site.ports

    def configure(patience: str) -> None:
        health = f'health = {{ path = "/up", timeout = "{patience}" }}\n'
        site.configure(more='env = { MODE = "new" }\n' + health, start=f"{sys.executable} -E app.py")

    def failing() -> None:
        site.run("up")
        site.ports = (ports[1], ports[0])
        configure("2s")
        site.repository.commit("2", app=WITHOUT_UP)
        failed = site.run("deploy", exit_status=1)
        assert "Slot a" in failed.stderr
        assert "still serves" in failed.stderr

    def mended() -> None:
        configure("60s")
        site.repository.commit("3")
        site.run("deploy")
        site.assert_only_serves("b")

    def back() -> None:
        assert "as it stands" in site.run("rollback").stdout
        site.assert_only_serves("a")
        configure("2s")
        assert site.run("restart", exit_status=1).stderr  # it has the new health check, and no such page
        configure("60s")
        site.run("deploy")

    assert under_load(site, failing, mended, back) == {"1", "3"}
    assert {slot["port"] for slot in site.app()["slots"].values()} == set(ports)
