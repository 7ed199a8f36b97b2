from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.interrupts import Interrupts
from substitute.hosts.crew import Crew
from tests.unit.fakes.fleet import FakeTransport
from tests.unit.fakes.rollouts import NAMES, Driver
from tests.unit.fakes.shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = make_shop(tmp_path)
    yield made
    made.host.journal.close()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport(*NAMES)


@pytest.fixture
def driver(transport: FakeTransport) -> Iterator[Driver]:
    shown: list[Any] = []
    with Interrupts(lambda _: None) as interrupts:
        yield Driver(transport, Crew(transport.there(), interrupts, shown.append), shown)
