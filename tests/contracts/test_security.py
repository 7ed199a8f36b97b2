"""What another local user may not learn, and what a value may not do, seen on real programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import substitute
from substitute.console.tables import status_lines
from substitute.core.model.events import Event, Warned
from substitute.core.model.programs import Program
from substitute.runtimes.supervisord.launcher import render
from substitute.wiring.opening import open_site

VALUE = "only-in-the-env-file"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_never_prints_a_value_of_the_env_file(tmp_path: Path, form: list[str]) -> None:
    (tmp_path / "shop.env").write_text(f"TOKEN={VALUE}\n")
    (tmp_path / "substitute.toml").write_text(
        '[app.shop]\nrepo = "/srv/shop.git"\nstart = "true"\nports = [3001, 3002]\nenv_file = "shop.env"\n'
    )

    said = subprocess.run(
        [sys.executable, "-m", "substitute", "-C", tmp_path, "config", *form],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "TOKEN" in said.stdout
    assert VALUE not in said.stdout + said.stderr


def test_a_directory_with_syntax_of_the_shell_is_only_a_directory(tmp_path: Path) -> None:
    directory = tmp_path / "-a 'b' $(touch broken) `touch broken`\n%(x)s ; touch broken"
    directory.mkdir()
    log = directory / "its; log"
    told = f"{sys.executable} -c 'import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))'"
    program = Program("shop_a", told, directory, {"VALUE": "'; touch broken; '\n%(y)s $HOME"}, log, 30.0)

    subprocess.run(["/bin/sh", "-c", render(program)], cwd=tmp_path, check=True, env={})

    where, environment = json.loads(log.read_text())
    assert where == os.fspath(directory)
    assert environment["VALUE"] == program.environment["VALUE"]
    assert not list(tmp_path.rglob("broken"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as root")
def test_that_a_repository_runs_as_root_is_said_once_and_shown_by_status(tmp_path: Path) -> None:
    def opened(more: str = "") -> tuple[list[str], list[str]]:
        """What is warned of, and what status shows."""
        (tmp_path / "substitute.toml").write_text(
            f'[app.shop]\nrepo = "/srv/shop.git"\nstart = "true"\nports = [3001, 3002]\n{more}'
        )
        events: list[Event] = []
        site = open_site(tmp_path, events.append)
        site.host.source(site.app())
        site.host.source(site.app())
        shown = [
            line for line in status_lines(site.status(), lambda text, _: text) if "app.shop.user" in line
        ]
        told = [event.message for event in events if isinstance(event, Warned)]
        return [message for message in told if "as root" in message], shown

    warned, shown = opened()
    assert len(warned) == len(shown) == 1
    assert "app.shop.user" in warned[0]
    warned, shown = opened()
    assert (len(warned), len(shown)) == (0, 1)
    assert opened('user = "root"\n') == ([], [])
    assert len(opened()[0]) == 1


def test_no_python_is_started_that_looks_for_modules_where_it_stands() -> None:
    """`-m` alone puts the working directory first: the root, and what its app has there."""
    source = Path(substitute.__file__).parent
    text = "".join(file.read_text() for file in source.rglob("*.py"))
    assert len(re.findall(r'"-P", "-m"', text)) == len(re.findall(r'"-m"', text)) >= 5
