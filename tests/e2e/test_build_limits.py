"""A build that outlives its deployer, and its own process group."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# Known neither by its process group nor by its variables.
HANGS = "setsid env -i sleep 571 >/dev/null 2>&1 &\nsleep 571\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = "systemd"
    made.configure()
    yield made
    made.close()


def sleeping(site: Site) -> list[int]:
    return site.running("sleep 571")


@pytest.mark.machine
def test_nothing_of_a_build_outlives_its_deployer_on_systemd(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2", build=HANGS)
    with site.popen("deploy") as deployer:
        eventually(lambda: len(sleeping(site)) == 2, "the build runs")
        deployer.kill()
        deployer.communicate()
    eventually(lambda: not sleeping(site), "the guardian has ended it")
    site.run("up")
    site.assert_only_serves("a")
    site.repository.commit("3")
    site.run("deploy")
    site.assert_only_serves("b")


@pytest.mark.machine
def test_a_build_that_is_killed_for_its_memory_names_the_key(site: Site) -> None:
    site.configure(more='[app.shop.build_limits]\nmemory = "64M"\n')
    site.repository.commit("2", build=f"exec {sys.executable} -S -E -c 'x = b\"1\" * (200 << 20)'\n")
    assert "raise app.shop.build_limits.memory" in site.run("deploy", exit_status=4).stderr
    site.runtime = "supervisord"
    site.configure(more='[app.shop.build_limits]\nmemory = "64M"\n')
    refused = site.run("deploy", exit_status=2).stderr
    assert "supervisord has no use for app.shop.build_limits.memory" in refused
    site.configure(more="[app.shop.build_limits]\nnice = 19\n")
    site.repository.commit("3", build="test $(nice) = 19\n")
    site.run("deploy")
