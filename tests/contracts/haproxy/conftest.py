from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.contracts import haproxies
from tests.contracts.balanced_site import Kind, Site, site_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=haproxies.USUAL)
def binary(request: pytest.FixtureRequest) -> str:
    return haproxies.binaries()[request.param]


@pytest.fixture(scope="module")
def kept(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All tests of a module have one supervisord for each binary."""
    kind = Kind(partial(haproxies.make, binary=binary), haproxies.restart)
    with site_in(tmp_path_factory.mktemp("kept"), kind) as made:
        yield made


@pytest.fixture
def site(kept: Site) -> Site:
    kept.renew()
    kept.start_both()
    return kept
