"""A configuration that changes while a version serves, and a journal of the version of substitute before this one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.e2e.site import APP
from tests.e2e.test_deployments import under_load

if TYPE_CHECKING:
    from tests.e2e.site import Site

WITHOUT_UP = APP.read_text().replace(
    '    if method != "POST":\n',
    '    if path == "/up":\n        writer.write(b"HTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n")\n'
    '    elif method != "POST":\n',
)


def as_the_version_before_left_it(site: Site) -> None:
    with closing(sqlite3.connect(site.root / "deploy" / "journal.db")) as db:
        db.executescript(
            """
            DROP TABLE fact; DROP INDEX deployment_of_app; DROP INDEX deployment_under_way;
            ALTER TABLE slot DROP COLUMN version; ALTER TABLE slot DROP COLUMN committed;
            ALTER TABLE deployment DROP COLUMN committed; ALTER TABLE guest DROP COLUMN settings;
            ALTER TABLE deployment DROP COLUMN subject; ALTER TABLE deployment DROP COLUMN how;
            ALTER TABLE deployment DROP COLUMN tag; ALTER TABLE deployment DROP COLUMN user;
            PRAGMA user_version = 1;
            """
        )


def test_from_an_earlier_substitute_over_a_changed_configuration_to_the_next_version_and_back(
    site: Site,
) -> None:
    assert APP.read_text() != WITHOUT_UP
    site.repository.commit("1", app=WITHOUT_UP)
    site.run("deploy")
    as_the_version_before_left_it(site)
    ports = site.ports

    def failing() -> None:
        site.run("up")
        site.ports = (ports[1], ports[0])
        site.configure(
            more='env = { MODE = "new" }\nhealth = { path = "/up", timeout = "1s" }\n', start="python3 app.py"
        )
        site.repository.commit("2", app=WITHOUT_UP)
        failed = site.run("deploy", exit_status=1)
        assert "Slot a" in failed.stderr
        assert "still serves" in failed.stderr

    def mended() -> None:
        site.repository.commit("3")
        site.run("deploy")
        site.assert_only_serves("b")

    def back() -> None:
        assert "as it stands" in site.run("rollback").stdout
        site.assert_only_serves("a")
        assert site.run("restart", exit_status=1).stderr  # it has the new health check, and no such page
        site.run("deploy")

    assert under_load(site, failing, mended, back) == {"1", "3"}
    assert {slot["port"] for slot in site.app()["slots"].values()} == set(ports)
