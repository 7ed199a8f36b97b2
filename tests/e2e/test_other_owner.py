"""Root in the root of another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import substitute
from tests.e2e.site import Site
from tests.machines import USER

if TYPE_CHECKING:
    from tests.machines import Machine


def deployed(place: Path) -> Site:
    site = Site(place)
    site.configure()
    site.run("deploy")
    return site


def owners(root: Path) -> set[int]:
    return {path.lstat().st_uid for path in root.rglob("*")}


def test_root_changes_nothing_in_another_users_root_and_reads_it_as_that_user(machine: Machine) -> None:
    site = machine.call(lambda: deployed(Path(f"/home/{USER}/other")), user=USER)
    uid = machine.call(os.geteuid, user=USER)

    def as_root() -> None:
        for command in (("restart",), ("deploy",), ("down",), ("check",), ("up",)):
            said = site.run(*command, exit_status=2).stderr
            assert f"{site.root} belongs to {USER}, and this is root" in said
            assert f"`sudo -u {USER} substitute -C {site.root} {' '.join(command)}`" in said
        site.assert_only_serves("a")
        shown = {"status": "live", "history": "succeeded", "logs": "version 1 listens", "config": "shop"}
        for reading, text in shown.items():
            assert text in site.run(reading).stdout
        assert owners(site.root) == {uid}
        installed = json.loads(site.run("install", "--json").stdout)["boot"]["where"]
        assert f"User={USER}" in Path(installed).read_text()
        site.run("uninstall")
        assert not Path(installed).exists()
        assert owners(site.root) == {uid}

    machine.call(as_root)
    machine.call(lambda: site.run("restart"), user=USER)
    machine.call(site.close, user=USER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user's root to work in")
def test_root_does_not_begin_in_another_users_directory_and_is_told_how_it_could(site: Site) -> None:
    os.chown(site.root, 65534, 65534)
    said = site.run("deploy", exit_status=2).stderr
    assert "`sudo -u nobody substitute " in said
    assert f"`chown root {site.root}`" in said
    with (
        tempfile.TemporaryDirectory() as private
    ):  # where that user cannot enter, as to root's own installation
        shutil.copytree(Path(substitute.__file__).parent, Path(private, "substitute"))
        told = [sys.executable, "-m", "substitute", "-C", str(site.root), "status"]
        status = subprocess.run(told, cwd=private, capture_output=True, text=True, check=False)
    assert (status.returncode, "`sudo -u nobody substitute " in status.stderr) == (2, True)
    assert not (site.root / "deploy").exists()
    os.chown(site.root, 0, 0)
    site.run("deploy")
    os.chown(site.root, 65534, 65534)  # as a volume of a container: what root has begun there goes on
    site.run("restart")
    if not Path("/run/systemd/system").exists():  # a line in root's crontab would be refused at boot
        os.chown(site.root / "deploy", 65534, 65534)
        assert "`sudo -u nobody substitute " in site.run("install", exit_status=2).stderr
        os.chown(site.root / "deploy", 0, 0)
