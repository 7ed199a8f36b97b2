"""What the pages on migrations and workers say holds, with a real database, systemd, and requests flowing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import DOCS, Reader
from tests.e2e.servers import committed, published, run, server_with
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machines import Machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
ROOT, WORK, REPOSITORY = Path("/srv/shop"), Path("/srv/work"), Path("/srv/git/shop.git")
MIGRATIONS = "migrations.md"
CONFIGURATION = """\
[balancer]
listen = "127.0.0.1:8080"
[app.shop]
repo = "/srv/git/shop.git"
start = "python3 app.py"
ports = [3001, 3002]
user = "shop"
"""
APP = """\
import contextlib
import os
import signal
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WRITES, READS = {writes!r}, {reads!r}


def answer():
    database = sqlite3.connect("/srv/shop/data/shop.db", timeout=20)
    with contextlib.closing(database), database:
        values = ", ".join("'tea'" for _ in WRITES.split(","))
        database.execute(f"INSERT INTO product ({{WRITES}}) VALUES ({{values}})")
        assert not database.execute(f"SELECT count(*) FROM product WHERE {{READS}} IS NULL").fetchone()[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            answer()
        except Exception as error:
            self.send_error(500, str(error))
        else:
            self.send_response(204)
            self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
MIGRATE = """\
#!/usr/bin/env python3
import pathlib
import sqlite3

database = sqlite3.connect("/srv/shop/data/shop.db", timeout=20, isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT)")
for file in sorted(pathlib.Path("migrations").iterdir()):
    if not database.execute("SELECT 1 FROM migration WHERE name = ?", [file.name]).fetchone():
        print("migrating", file.name)
        database.execute("BEGIN IMMEDIATE")
        database.execute(file.read_text())
        database.execute("INSERT INTO migration VALUES (?)", [file.name])
        database.execute("COMMIT")
"""
WORKER = """\
#!/bin/sh
git rev-parse HEAD >/srv/shop/data/worked
exec sleep infinity
"""


@pytest.fixture
def server() -> Iterator[Machine]:
    """A machine with an app that has a database, a worker, and nothing deployed yet."""
    with server_with(prepared) as machine:
        yield machine


def prepared() -> None:
    run("useradd", "--system", "--create-home", "shop")
    run("install", "--directory", "--owner=shop", ROOT / "data")
    (ROOT / "substitute.toml").write_text(CONFIGURATION)
    (WORK / "migrations").mkdir(parents=True)
    published(WORK, REPOSITORY)
    for name, text in {"migrate": MIGRATE, "worker": WORKER}.items():
        (WORK / name).write_text(text)
        (WORK / name).chmod(0o755)
    version("name", "name", "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT)")
    run("git", "push", "--quiet", "--set-upstream", "origin", "main", cwd=WORK)


def version(writes: str, reads: str, migration: str) -> None:
    """Commit a version of the app, with its migration."""
    (WORK / "app.py").write_text(APP.format(writes=writes, reads=reads))
    if migration != "none":
        number = len(list((WORK / "migrations").iterdir())) + 1
        (WORK / "migrations" / f"{number:04}.sql").write_text(migration)
    committed(WORK, migration)


def failed_during(*operation: str) -> int:
    """Do it while requests write and read; how many failed."""
    command = ["substitute", "drill", *operation, "--before", "0.5s", "--after", "0.5s", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    assert result["outcome"] == "succeeded", done.stdout
    return int(result["failed"])


def follow(page: str) -> None:
    with Reader(Path("/root/reader"), home=WORK) as reader:
        reader.type("git config user.name x; git config user.email x")
        reader.follow(DOCS / page)


def test_how_to_run_database_migrations(server: Machine) -> None:
    def inside() -> None:
        deployed()
        with_the_release()
        follow(MIGRATIONS)
        steps = re.findall(
            r"^\| \d \| `?([^|`]+?)`? \| `([\w, ]+)` \| `(\w+)` \|$",
            (DOCS / MIGRATIONS).read_text(),
            re.MULTILINE,
        )
        assert len(steps) == 4
        for migration, writes, reads in steps:
            version(writes, reads, migration)
            run("git", "push", "--quiet", cwd=WORK)
            for operation in (["deploy"], ["rollback"], ["rollback"]):
                assert failed_during(*operation) == 0, (migration, operation)

    server.call(inside)


def deployed() -> None:
    """The first version; what makes its table was typed."""
    run("setpriv", "--reuid=shop", "--regid=shop", "--init-groups", "./migrate", cwd=WORK)
    run("substitute", "deploy", cwd=ROOT)


def with_the_release() -> None:
    """Configure the page's."""
    line = re.search(r"^release = .*$", (DOCS / MIGRATIONS).read_text(), re.MULTILINE)
    assert line
    with (ROOT / "substitute.toml").open("a") as file:
        file.write(f"{line[0]}\n")


def test_a_column_that_is_renamed_at_once_fails_requests_as_the_page_says(server: Machine) -> None:
    def inside() -> None:
        deployed()
        with_the_release()
        version("title", "title", "ALTER TABLE product RENAME COLUMN name TO title")
        run("git", "push", "--quiet", cwd=WORK)
        assert failed_during("deploy") > 0

    server.call(inside)


def test_how_to_run_background_workers(server: Machine) -> None:
    def inside() -> None:
        deployed()
        commit("name")
        follow("howto/workers.md")
        worked = ROOT / "data" / "worked"
        second = run("git", "rev-parse", "HEAD", cwd=WORK)
        eventually(lambda: worked.read_text() == second, "it runs the new version")
        commit("name")  # a rollback to the first would be to one that had no worker
        run("substitute", "deploy", cwd=ROOT)
        third = run("git", "rev-parse", "HEAD", cwd=WORK)
        eventually(lambda: worked.read_text() == third, "it runs the newest version")
        run("substitute", "rollback", cwd=ROOT)
        eventually(lambda: worked.read_text() == second, "it runs the version before")

    def commit(column: str) -> None:
        version(column, column, "none")
        run("git", "push", "--quiet", cwd=WORK)

    server.call(inside)
