"""The machine that other tests stand on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.machines import USER

if TYPE_CHECKING:
    from tests.machines import Machine


@pytest.mark.machine
def test_a_marked_test_runs_inside_as_root(tmp_path: Path) -> None:
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert os.geteuid() == 0
    (tmp_path / "file").write_text("written")
    assert (
        subprocess.run(["systemctl", "is-active", "dbus"], check=False, capture_output=True).stdout
        == b"active\n"
    )


@pytest.mark.machine(user=USER)
def test_or_as_a_user_with_a_manager_of_his_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("written")
    asked = subprocess.run(["systemctl", "--user", "is-system-running"], check=False, capture_output=True)
    assert (os.environ["USER"], asked.stdout) == (USER, b"running\n")


def test_a_reboot_keeps_the_disk_and_nothing_that_ran(machine: Machine) -> None:
    before = machine.call(lambda: Path("/etc/hostname").read_text())
    machine.run("systemd-run", "--unit=stays", "sleep", "600")
    machine.run("touch", "/srv/kept", "/run/lost")
    machine.reboot()
    assert machine.run("systemctl", "is-active", "stays", check=False).stdout == "inactive\n"
    assert machine.call(lambda: (Path("/srv/kept").exists(), Path("/run/lost").exists())) == (True, False)
    assert machine.call(lambda: Path("/etc/hostname").read_text()) == before


def test_it_may_reboot_by_itself(machine: Machine) -> None:
    before = machine.init
    machine.run("systemctl", "reboot", check=False)
    machine.await_boot(before)
    assert machine.run("true").returncode == 0


def test_what_fails_inside_is_shown(machine: Machine) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        machine.call(lambda: 1 / 0)
