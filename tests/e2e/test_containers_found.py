"""What runs in containers is found again where nothing but the engine knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.containers import ENGINES, ContainerSite, container_site
from tests.e2e.site import fetch
from tests.e2e.traffic import under_load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture(params=ENGINES)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ContainerSite]:
    yield from container_site(tmp_path, request)


def test_a_lost_journal_is_made_anew_with_the_image_of_what_runs(site: ContainerSite) -> None:
    site.run("deploy")

    def lose_it() -> None:
        for file in (site.root / "deploy").glob("journal.db*"):
            file.unlink()
        assert "A new one was made" in site.run("up").stdout

    assert under_load(site, lose_it) == {"1"}
    site.run("down")
    site.run("up")
    assert fetch(site.url) == "version 1\n", "it is started again in its image"
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")


def test_a_root_that_was_moved_ends_the_containers_that_are_called_after_the_place_before(
    site: ContainerSite,
) -> None:
    site.run("deploy")
    prefixes = [site.prefix]
    moved = site.root.with_name("moved")

    def move() -> None:
        site.root.rename(moved)
        site.root = moved
        site.run("up")

    assert under_load(site, move) == {"1"}
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")
    prefixes.append(site.prefix)
    names = site.engine("ps", "--format", "{{.Names}}").split()
    assert [name for name in names if name.startswith(tuple(prefixes))] == [f"{site.prefix}-shop_b"]
