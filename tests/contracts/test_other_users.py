"""What an app's user can make root do, seen on real programs: nothing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from substitute.accounts import account
from substitute.core.ports import Program
from substitute.runtimes.launcher import render

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER = "nobody"


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """A directory of the app's user's, in a root of root's."""
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(0o755)
    return directory_of_theirs(tmp_path / "shop_a")


def directory_of_theirs(path: Path) -> Path:
    become = account(USER)
    assert become
    path.mkdir()
    os.chown(path, become.uid, become.gid)
    return path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def owners(directory: Path) -> set[int]:
    return {path.stat().st_uid for path in directory.iterdir()}


def test_a_launcher_runs_nothing_of_the_slot_and_obeys_none_of_its_variables_before_it_is_the_user(
    slot: Path, tmp_path: Path
) -> None:
    become = account(USER)
    assert become
    traces = tmp_path / "traces"
    traces.mkdir()
    traces.chmod(0o777)
    for name in ("setpriv", "sh", "env", "cat"):
        script(slot / ".venv/bin" / name, f'echo > {traces}/{name}.$$; exec /usr/bin/{name} "$@"')
    value = 'it\'s "$HOME"; `id`\n\n%s  '
    environment = {
        "PATH": ".venv/bin:/usr/bin:/bin",
        "LD_DEBUG": "files",  # as LD_PRELOAD: obeyed before the program begins
        "LD_DEBUG_OUTPUT": f"{traces}/loader",
        "VALUE": value,
        "HOME": str(slot),
    }
    out = tmp_path / "out"
    out.write_text("")
    told = 'A=1 sh -c \'id -un; pwd; printf "%s|" "$VALUE" "$A" "$HOME"; env | grep -c ^SUBSTITUTE; exit 7\''
    launcher = tmp_path / "shop_a.sh"
    launcher.write_text(render(Program("shop_a", told, slot, environment, out, 30.0), become))
    launcher.chmod(0o700)

    ended = subprocess.run([launcher], cwd=tmp_path, env={}, check=False)

    assert ended.returncode == 7
    assert out.read_text() == f"{USER}\n{slot}\n{value}|1|{slot}|0\n"
    assert any(path.name.startswith("loader.") for path in traces.iterdir())
    assert any(path.name.startswith("sh.") for path in traces.iterdir())
    assert owners(traces) == {become.uid}
