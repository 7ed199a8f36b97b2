from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.podmans import Podmans
from tests.e2e.fleets import Fleet
from tests.e2e.rollouts import CRON, HOME, LIMITS, RELEASE
from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podmans]:
    """Podman as tests have it."""
    made = Podmans(tmp_path_factory.mktemp("podman"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def machines() -> Iterator[Fleet]:
    """Three, which `hosts setup` has set up: booted once for all tests of many hosts in a session."""
    with Fleet(3) as made:
        made.configure(more=CRON, more_of_hosts=LIMITS)
        made.run("hosts", "setup")
        yield made


@pytest.fixture
def fleet(machines: Fleet) -> Fleet:
    """With a version that is live everywhere: that of the test before, where it left one."""
    if RELEASE in (machines.root / "substitute.toml").read_text():
        machines.reconfigure(CRON)
    if len(live := set(machines.live().values())) > 1 or None in live:
        commit = next(filter(None, live), None) or machines.commit("old")
        machines.run("deploy", commit, "--hosts", "all", "--if-changed")
        live = {commit}
    (machines.everywhere,) = live
    for machine in machines.machines.values():
        machine.run("rm", "-f", *(f"{HOME}/{name}" for name in ("begun", "go", "broken", "released")))
    return machines
