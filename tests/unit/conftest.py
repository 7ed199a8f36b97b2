from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.fakes.shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = make_shop(tmp_path)
    yield made
    made.host.journal.close()
