"""The tutorial and the how-tos are followed: every command is typed, every file saved, what they print compared.

How-tos are followed as root of a machine of their own, which has nothing but what a server has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import DOCS, Reader
from tests.e2e.site import Repository
from tests.machines import UNAVAILABLE, Machine
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = DOCS.parent / "examples" / "node"
NGINX = """\
server {
    listen 80;
    server_name shop.example.com;
    location / { proxy_pass http://127.0.0.1:3000; }
}
"""


def test_the_tutorial(tmp_path: Path) -> None:
    ports = {port: free_port() for port in ("8080", "3001", "3002")}
    with Reader(tmp_path, replace=ports) as reader:
        reader.follow(DOCS / "tutorial.md")


@pytest.fixture
def server() -> Iterator[Machine]:
    """A machine with substitute installed, and an app's repository in /srv/git/shop."""
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE)
    with Machine() as machine:
        machine.call(_prepare)
        yield machine


def _prepare() -> None:
    Path("/usr/local/bin/substitute").symlink_to(Path(sys.executable).parent / "substitute")
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write("127.0.0.1 shop.example.com\n")
    Path("/srv/git").mkdir()
    repository = Repository(Path("/srv/git/shop"))
    for file in ("www.js", "package.json"):
        shutil.copy(EXAMPLE / file, repository.directory)
    repository.commit("1")


def follow(
    server: Machine, page: str, *, only: str | None = None, before: Callable[[], object] = lambda: None
) -> None:
    """Do what a page says, or a section of it, where `before` has been done."""

    def inside() -> None:
        before()
        directory = Path("/srv/reader")
        directory.mkdir()
        replace = {"https://git.example.com/shop.git": "/srv/git/shop"}
        with Reader(directory, home=Path("/root"), replace=replace) as reader:
            reader.follow(DOCS / page, only=only)

    server.call(inside)


def an_app_runs_behind_nginx() -> None:
    """As many do: a clone, a unit of systemd's, a file of nginx's."""
    subprocess.run(["git", "clone", "--quiet", "/srv/git/shop", "/srv/live"], check=True)
    unit = "[Service]\nWorkingDirectory=/srv/live\nEnvironment=PORT=3000\nExecStart=/usr/bin/node www.js\nRestart=always\n"
    Path("/etc/systemd/system/shop.service").write_text(unit)
    Path("/etc/nginx/conf.d/shop.conf").write_text(NGINX)
    subprocess.run(["systemctl", "start", "shop", "nginx"], check=True)


@pytest.mark.parametrize(
    "way", ["Your nginx stays as it is", "Put HAProxy between nginx and the app"], ids=["passive", "haproxy"]
)
def test_how_to_take_over_a_running_app(server: Machine, way: str) -> None:
    follow(server, "howto/adopt.md", only=way, before=an_app_runs_behind_nginx)
