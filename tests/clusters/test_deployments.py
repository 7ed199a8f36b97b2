"""An app in a cluster, by the commands that anybody types: what users see, and whether a request fails."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.clusters.cluster import Cluster, start_cluster
from tests.clusters.site import ClusterSite, home, push
from tests.e2e.registries import Registry, registry
from tests.e2e.site import fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster"), nodes=3) as made:
        yield made


@pytest.fixture(scope="module")
def images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with v1, v2, and one that is never healthy."""
    place = tmp_path_factory.mktemp("registry")
    with registry(place / "it", host=cluster.here) as made:
        cluster.trust_registry(made.address)
        for tag in ("v1", "v2", "sick"):
            push(made, place, tag)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(home(place, made)))
            yield made


@pytest.fixture
def site(cluster: Cluster, images: Registry, tmp_path: Path) -> Iterator[ClusterSite]:
    number = next(_NUMBERS)
    first = 30100 + 2 * number
    made = ClusterSite(tmp_path / "site", cluster, images, f"shop{number}", (first, first + 1))
    try:
        yield made
    finally:
        made.close()


def test_a_deployment_and_a_rollback_fail_no_request(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    assert len(site.pods()) == 3
    assert {pod["spec"]["nodeName"] for pod in site.pods()} == set(site.cluster.nodes)
    assert fetch(site.url).startswith("v1 ")
    answered = under_load(
        site, lambda: site.run("deploy", "v2"), lambda: site.run("rollback"), lambda: site.run("restart")
    )
    assert answered == {"v1", "v2"}
    site.assert_only_serves()
    assert len(site.names()) == 1, "the other slot has no pods left"


def test_what_is_never_ready_changes_nothing_and_is_said(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    site.configure(more='health = { path = "/healthz", timeout = "8s" }\n')
    failed = site.run("deploy", "sick", exit_status=1)
    assert "0 of 3 pods are ready" in failed.stderr
    assert "Slot a" in failed.stderr
    assert fetch(site.url).startswith("v1 ")
    site.assert_only_serves("a")
    assert site.names() == {"shop-a"}


def test_a_crash_at_boot_is_found_at_once_with_its_last_words(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    site.configure(start="/bin/sh -c 'echo no database; exit 3'")
    failed = site.run("deploy", "v2", exit_status=1)
    assert "exit status 3" in failed.stderr
    assert "no database" in failed.stderr
    site.assert_only_serves("a")


def test_an_image_that_is_not_there_is_said(site: ClusterSite) -> None:
    failed = site.run("deploy", "v9", exit_status=4)
    image = f"{site.registry.address}/shop:v9"
    assert f"The image {image} cannot be fetched." in failed.stderr
    assert "manifest unknown" in failed.stderr
    assert f"`skopeo inspect --format '{{{{.Digest}}}}' docker://{image}`; `skopeo login`" in failed.stderr


def test_status_logs_and_down_know_a_cluster(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    slot = site.app()["slots"]["a"]
    assert (slot["state"], slot["pid"], slot["restarts"]) == ("live", None, 0)
    fetch(site.url + "here")
    eventually(lambda: "GET /here" in site.run("logs", "a", "-n", "50").stdout, "the log has the request")
    site.run("down")
    assert site.pods() == []
    site.run("up")
    assert fetch(site.url).startswith("v1 ")
