"""The boot unit on a real systemd, with programs that end as they are told to in the place of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from substitute.autostart.command import Command
from substitute.autostart.systemd import Systemd
from tests.waiting import eventually

pytestmark = pytest.mark.machine


def shown(unit: str, name: str) -> str:
    argv = ["systemctl", "show", "--value", f"--property={name}", unit]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_what_was_taken_down_is_not_tried_again_by_a_unit_that_has_not_succeeded(tmp_path: Path) -> None:
    starter = Systemd(tmp_path, user=False)
    unit = Path(starter.install(Command(("/bin/false",), tmp_path, "root", "/bin"))).name
    eventually(lambda: shown(unit, "SubState") == "auto-restart", "it waits for its next try")
    starter.rest()
    assert shown(unit, "ActiveState") in {"inactive", "failed"}
    starter.uninstall()
    assert (shown(unit, "LoadState"), shown(unit, "ActiveState")) == ("not-found", "inactive")


def test_one_that_succeeded_is_left_as_it_is_when_the_root_is_taken_down(tmp_path: Path) -> None:
    starter = Systemd(tmp_path, user=False)
    unit = Path(starter.install(Command(("/bin/true",), tmp_path, "root", "/bin"))).name
    eventually(lambda: shown(unit, "ActiveState") == "active", "it succeeds")
    starter.rest()
    assert shown(unit, "ActiveState") == "active"
    started = shown(unit, "ExecMainStartTimestampMonotonic")
    starter.install(Command(("/bin/true",), tmp_path, "root", "/bin"))
    eventually(lambda: shown(unit, "ExecMainStartTimestampMonotonic") not in {started, "0"}, "it runs again")
    eventually(lambda: shown(unit, "ActiveState") == "active", "it succeeds")
    starter.uninstall()
    assert (shown(unit, "LoadState"), shown(unit, "ActiveState")) == ("not-found", "inactive")
