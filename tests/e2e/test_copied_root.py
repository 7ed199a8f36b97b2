"""A root that is copied or moved while it serves, and processes that only look like instances."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.slots import Endpoint
from substitute.probing.endpoints import Sockets
from substitute.runtimes.systemd import runtime as systemd
from tests.e2e.site import Site, fetch
from tests.e2e.test_security import ON_BOTH
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, runtime: str) -> Iterator[Site]:
    made = Site(tmp_path / "production")
    made.runtime = runtime
    made.configure()
    yield made
    made.close()


def copy_of(site: Site, place: Path) -> Site:
    made = Site(place)
    shutil.rmtree(made.root)
    subprocess.run(["cp", "-a", str(site.root), str(made.root)], check=True)
    made.repository = site.repository
    made.configure()
    return made


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_a_copy_of_a_root_that_serves_touches_nothing_of_it(site: Site, tmp_path: Path) -> None:
    site.run("deploy")
    pids = site.pids()
    copied: list[Site] = []

    def copy() -> None:
        copied.append(copy_of(site, tmp_path / "staging"))
        told = copied[0].run("deploy")
        assert "is a copy of" in told.stdout + told.stderr
        copied[0].assert_only_serves("a")
        copied[0].run("down")

    try:
        assert under_load(site, copy) == {"1"}
    finally:
        copied[0].close()
    assert site.pids() == pids
    site.assert_only_serves("a")
    assert "copy" not in site.run("up").stdout


@ON_BOTH
def test_a_root_that_is_moved_while_it_serves_goes_on(site: Site) -> None:
    site.run("deploy")
    former = site.root / "deploy" / "run"

    def move() -> None:
        site.root = site.root.rename(site.root.with_name("moved"))
        site.repository.commit("2")
        told = site.run("deploy")
        assert "was moved here" in told.stdout + told.stderr
        site.assert_only_serves("b")
        site.run("rollback")

    assert under_load(site, move) == {"1", "2"}
    assert systemd.connect(former).kept() == set()
    site.run("down")
    site.run("up")
    site.assert_only_serves("a")


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_a_root_whose_state_was_removed_while_it_serves_is_brought_in_order_by_up(site: Site) -> None:
    """Nobody can talk to its HAProxy and its supervisord any more: their sockets are gone with the directory."""
    site.run("deploy")
    shutil.rmtree(site.root / "deploy")
    told = site.run("status")
    assert "slot a is live" in told.stdout
    assert "was gone" in told.stderr
    site.run("up")
    assert fetch(site.url) == "version 1\n"
    assert {name for name in working_places(site) if name.endswith("(deleted)")} == set()
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")
    site.run("down")
    assert site.pids() == set()


def working_places(site: Site) -> set[str]:
    """Where the processes of the root work."""
    places = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            places.add(str((entry / "cwd").readlink()))
    return {place for place in places if place.startswith(str(site.root))}


@pytest.mark.parametrize("runtime", ["supervisord"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", [pytest.param(None, marks=pytest.mark.slow), "nobody"])
def test_a_process_that_only_looks_like_the_live_instance_is_not_taken_for_it(
    site: Site, user: str | None
) -> None:
    """Started by hand in the slot's directory, with all of the instance's environment."""
    site.run("deploy")
    environment = (
        Path(f"/proc/{site.app()['slots']['a']['pid']}/environ").read_text().rstrip("\0").split("\0")
    )
    site.run("down")
    slot = site.root / "shop_a"
    for directory in (site.root, *site.root.parents, slot):
        if directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    impostor = subprocess.Popen(
        ["/usr/bin/python3", "-S", "-E", str(slot / "app.py")],
        cwd=slot,
        env=dict(entry.split("=", 1) for entry in environment),
        user=user,
        group="nogroup" if user else None,
    )
    try:
        eventually(lambda: Sockets().holder(Endpoint("127.0.0.1", site.ports[0])) is not None, "it listens")
        failed = site.run("up", exit_status=4)
        assert f"Port {site.ports[0]}" in failed.stderr
        assert impostor.poll() is None
    finally:
        impostor.kill()
        impostor.wait()
    site.run("up")
    site.assert_only_serves("a")
