"""Machines with substitute installed, on which pages of the documentation are followed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.repository import IDENTITY
from tests.machines import UNAVAILABLE, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_HOSTS = "127.0.0.1 shop.example.com server.example.com git.example.com\n"


def run(
    *argv: str | Path, cwd: Path | None = None, user: str = "root", env: Mapping[str, str] | None = None
) -> str:
    """Run a program, which must succeed; what it printed is returned."""
    switch: list[str | Path] = ["runuser", "-u", user, "--"] if user != "root" else []
    environment = os.environ | IDENTITY | dict(env or {})
    done = subprocess.run(
        [*switch, *argv], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def committed(work: Path, message: str = "x") -> None:
    """Commit all that is in `work`."""
    run("git", "add", "--all", cwd=work)
    run("git", "commit", "--quiet", "--allow-empty", "--message", message, cwd=work)


def published(work: Path, repository: Path) -> None:
    """Commit what is in `work`, and have it in a bare `repository`, its origin, which every user may clone."""
    Path("/etc/gitconfig").write_text("[safe]\n    directory = *\n[init]\n    defaultBranch = main\n")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=work)
    committed(work)
    run("git", "clone", "--quiet", "--bare", work, repository)
    run("git", "remote", "add", "origin", repository, cwd=work)


@contextmanager
def server_with(prepared: Callable[[], object]) -> Iterator[Machine]:
    """A machine with substitute installed, on which `prepared` was called."""
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE)
    with Machine() as machine:
        machine.call(_install)
        machine.call(prepared)
        yield machine


def _install() -> None:
    Path("/usr/local/bin/substitute").symlink_to(Path(sys.executable).parent / "substitute")
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(_HOSTS)
