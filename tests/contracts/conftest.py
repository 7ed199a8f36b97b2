"""What tests of contracts share for as long as the session lasts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.contracts.dockerd import dockerd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.dockerd import Dockerd


@pytest.fixture(scope="session")
def docker() -> Iterator[Dockerd]:
    """A dockerd of the tests' own, which DOCKER_HOST names."""
    with dockerd() as made:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = made.host
        yield made
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
