from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.podmans import Podmans
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
