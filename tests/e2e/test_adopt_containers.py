"""The app that runs in a container today is taken over behind the user's own nginx, while requests flow."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest

from tests.e2e import engines
from tests.e2e.site import Site, fetch
from tests.e2e.test_adopt import listens
from tests.e2e.test_passive import gate, nginx
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def docker() -> Iterator[engines.Engine]:
    with engines.docker() as engine:
        yield engine


@pytest.fixture(scope="module")
def podman() -> Iterator[engines.Engine]:
    with engines.podman() as engine:
        yield engine


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    subprocess.run(["git", "clone", "--quiet", made.repository.directory, tmp_path / "live"], check=True)
    made.balancer = 'kind = "passive"\ngate = "nft"'
    made.configure()
    yield made
    made.close()


def state_of(engine: engines.Engine, name: str) -> str:
    return engine("inspect", "--format", "{{.State.Status}}", name)


@pytest.mark.parametrize("published", ["", "127.0.0.1:", "0.0.0.0:", "all of both families"])
def test_a_container_that_docker_would_always_start_again(
    site: Site, docker: engines.Engine, published: str
) -> None:
    """On the network of the host, or with a published port, which Docker holds in a process of its own, or in two."""
    live, port = site.root.parent / "live", site.ports[0]
    if published:
        where = f"{published if published.endswith(':') else ''}{port}:80"
        name = docker.start(live, f"--publish={where}", port=80, host="0.0.0.0")
    else:
        name = docker.start(live, "--network=host", port=port, host="127.0.0.1")
    bystander = docker.start(live, port=80, host="0.0.0.0")
    taken_over(site, docker, name)
    assert state_of(docker, bystander) == "running"


def test_a_container_that_podman_would_always_start_again(site: Site, podman: engines.Engine) -> None:
    live, port = site.root.parent / "live", site.ports[0]
    taken_over(site, podman, podman.start(live, "--network=host", port=port, host="127.0.0.1"))


def test_a_port_that_podman_leads_by_rules_of_its_own_is_refused_and_goes_on(
    site: Site, podman: engines.Engine
) -> None:
    """It is not the listening process that gets the connections."""
    live, port = site.root.parent / "live", site.ports[0]
    name = podman.start(live, f"--publish={port}:80", port=80, host="0.0.0.0")
    with nginx(site, site.root.parent):
        eventually(lambda: serves(site))

        def refused() -> None:
            assert "Nothing was adopted" in site.run("adopt", exit_status=1).stderr

        assert under_load(site, refused) == {"1"}
        assert state_of(podman, name) == "running"
        assert gate(site) == ""


def serves(site: Site) -> bool:
    try:
        return fetch(site.url) == "version 1\n"
    except HTTPError:  # the port is published before the app listens
        return False


def taken_over(site: Site, engine: engines.Engine, name: str) -> None:
    eventually(lambda: listens(site.ports[0]))
    with nginx(site, site.root.parent):
        eventually(lambda: serves(site))
        site.repository.commit("2")
        told: list[str] = []

        def adopt_and_deploy() -> None:
            told.append(site.run("adopt").stdout)
            assert site.app()["slots"]["a"]["adopted"] == f"the container {name}"
            told.append(site.run("deploy").stdout)

        assert under_load(site, adopt_and_deploy) == {"1", "2"}
        site.assert_only_serves("b")
        (called,) = engine.command
        assert f"stops it by `{called} stop {name}`" in told[0]
        assert f"after a reboot, type `{called} " in told[1]
        assert state_of(engine, name) == "exited"
        site.repository.commit("3")
        assert under_load(site, lambda: site.run("deploy")) == {"2", "3"}
        site.assert_only_serves("a")
        site.run("down")
