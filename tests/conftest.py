"""What holds for every test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.contracts.dockerd import dockerd
from tests.machines import UNAVAILABLE, Machine, reports_from_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.dockerd import Dockerd

# A shell starts what runs in its background with SIGINT ignored; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's matter: it has other work.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

_MACHINES = pytest.StashKey[dict[bool, Machine | str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "machine(user, unified): runs inside a machine with a real systemd, as root or as that user",
    )


LONGEST = ("test_model.py",)
"""Files that are begun first. The last are those of tests/unit, which take a second: so no worker waits for another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)  # all else stays in its order
    for item in items:
        if UNAVAILABLE and (
            item.get_closest_marker("machine") or "machine" in getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.skip(reason=UNAVAILABLE))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run what is marked ``machine`` inside one; all of a session share it."""
    marker = item.get_closest_marker("machine")
    if not marker or UNAVAILABLE:
        return None
    machine = _machine_of(item.config, unified=marker.kwargs.get("unified", False))
    if isinstance(machine, str):
        item.add_marker(pytest.mark.skip(reason=machine))
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports_from_inside(machine, item, marker.kwargs.get("user")):
        hook.pytest_runtest_logreport(report=report)
    item.session._setupstate.teardown_exact(
        nextitem
    )  # what earlier tests have set up here for this one's module
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _machine_of(config: pytest.Config, *, unified: bool = False) -> Machine | str:
    """The session's machine, or why there can be none here."""
    machines = config.stash.setdefault(_MACHINES, {})
    if unified not in machines:
        try:
            machines[unified] = Machine(unified=unified).__enter__()
        except (AssertionError, OSError) as error:
            machines[unified] = f"no machine can be booted here: {error}"
    return machines[unified]


def pytest_unconfigure(config: pytest.Config) -> None:
    for machine in config.stash.get(_MACHINES, {}).values():
        if isinstance(machine, Machine):
            machine.down()


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Machine:
    """The session's machine, for a test that stands outside: it may reboot it."""
    found = _machine_of(request.config)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def docker() -> Iterator[Dockerd]:
    """A dockerd of the tests' own, which DOCKER_HOST names."""
    with dockerd() as made:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = made.host
        yield made
        if before is None:
            os.environ.pop("DOCKER_HOST", None)  # inside a machine it is gone already
        else:
            os.environ["DOCKER_HOST"] = before
