"""An app whose images are built here of its commits, pushed to a registry, and run in a cluster."""

from __future__ import annotations

import itertools
import json
import os
import signal
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from substitute.linux.root_names import prefix_of
from tests.clusters.cluster import Cluster, start_cluster
from tests.clusters.images import app_base, write_dockerfile
from tests.clusters.site import ClusterSite, home
from tests.contracts.podmans import Podmans
from tests.e2e.registries import PASSWORD, USER, Registry, registry
from tests.e2e.site import fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contracts.dockerd import Dockerd

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.timeout(600)]

BASE = "localhost/cluster-app:test"
_NUMBERS = itertools.count()


class Builder(Protocol):
    """An engine of this machine; called with the arguments of its command, it returns what that says."""

    def __call__(self, *arguments: str, **more: Any) -> str: ...


class BuildSite(ClusterSite):
    """The sample app of clusters, in git with a Dockerfile."""

    def __init__(self, place: Path, cluster: Cluster, registry: Registry, kind: str, engine: Builder) -> None:
        self.kind, self.engine = kind, engine
        self.build: tuple[str, ...] = ()
        number = next(_NUMBERS)
        ports = (30100 + 2 * number, 30101 + 2 * number)
        super().__init__(place, cluster, registry, f"shop{number}", ports)
        self.name = f"{registry.address}/shop{number}"
        self.configure()

    def configure(self, *, more: str = "", start: str = "", balancer: str = "", cluster: str = "") -> None:
        self.image = (
            f'repo = "{self.repository.directory}"\ndockerfile = "Dockerfile"\n'
            f'image = "{self.registry.address}/{self.namespace}:{{commit}}"\nbuild = {json.dumps(self.build)}\n'
        )
        cluster += f'builder = "{self.kind}"\n'
        super().configure(more=more, start=start, balancer=balancer, cluster=cluster)

    def commit(self, version: str, more: str = "") -> str:
        """A version, whose Dockerfile says `more`; its hash."""
        write_dockerfile(self.repository.directory, version, BASE, more)
        return self.repository.commit_all(version)

    def before_push(self, *commands: str) -> None:
        """Have these be run when the registry has been asked, and nothing was built yet."""
        self.build = commands
        self.configure()

    def named_here(self) -> set[str]:
        """What images of this app are called on this machine, by us or by the registry: the tags."""
        told = self.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        ours = [
            name for name in told if name.startswith((f"{self.name}:", f"localhost/{prefix_of(self.root)}/"))
        ]
        return {name.rpartition(":")[2].partition("-")[0] for name in ours}

    def runs(self) -> set[str]:
        """The images of its pods."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods()}

    def close(self) -> None:
        try:
            super().close()
        finally:
            told = self.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
            places = (f"{self.name}:", f"localhost/{prefix_of(self.root)}/")
            if names := [name for name in told if name.startswith(places)]:
                self.engine("image", "rm", "--force", *names)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster"), nodes=2) as made:
        yield made


@pytest.fixture(scope="module")
def images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    place = tmp_path_factory.mktemp("registry")
    with registry(place / "it", host=cluster.here) as made:
        cluster.trust_registry(made.address)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(home(place, made)))
            yield made


@pytest.fixture
def docker_builder(docker: Dockerd, images: Registry) -> Iterator[Builder]:
    docker.end()
    docker.start(f"--insecure-registry={images.address}")
    yield docker
    docker.end()
    docker.start()


@pytest.fixture
def podman_builder(tmp_path: Path) -> Iterator[Builder]:
    made = Podmans(tmp_path)
    try:
        yield made
        made("image", "rm", BASE)  # it is the machine's Podman, not one of the test's own
    finally:
        made.close()


def built_by(kind: str, request: pytest.FixtureRequest, place: Path) -> BuildSite:
    cluster, images = request.getfixturevalue("cluster"), request.getfixturevalue("images")
    engine: Builder = request.getfixturevalue(f"{kind}_builder")
    if not engine("image", "ls", "--quiet", BASE):
        engine("import", "-", BASE, input=app_base())
    made = BuildSite(place / "site", cluster, images, kind, engine)
    made.replicas = 2
    made.configure()
    return made


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuildSite]:
    """Docker's, unless the test says which."""
    made = built_by(getattr(request, "param", "docker"), request, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("site", ["docker", "podman"], indirect=True)
def test_commits_are_built_and_pushed_and_no_request_fails(site: BuildSite) -> None:
    first = site.commit("1")
    site.run("deploy")
    assert fetch(site.url).startswith("1 ")
    second = site.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    (image,) = site.runs()
    assert image.startswith(f"{site.name}@sha256:")
    assert site.named_here() == {first, second}
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
    assert site.app()["slots"][site.app()["live"]]["commit"] == first
    site.commit("3")
    site.run("deploy")
    assert site.named_here() == {first, site.repository.head()}, (
        "the image of no version that is kept is gone"
    )
    told = site.run("deploy", second).stdout
    assert "was pushed before: nothing is built." in told
    assert site.runs() == {image}
    site.assert_only_serves()


def test_a_rollback_needs_neither_what_builds_nor_the_registry(
    site: BuildSite, docker: Dockerd, images: Registry
) -> None:
    site.commit("1")
    site.run("deploy")
    site.commit("2")
    site.run("deploy")
    images.stop()
    docker.end()
    try:
        assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
        failed = site.run("deploy", exit_status=1).stderr
        assert "The registry does not answer." in failed
        assert fetch(site.url).startswith("1 ")
    finally:
        images.start()
        docker.start(f"--insecure-registry={images.address}")
    site.run("deploy")
    assert fetch(site.url).startswith("2 ")


def test_a_build_that_fails_changes_nothing(site: BuildSite) -> None:
    site.commit("1")
    site.run("deploy")
    site.commit("2", more="RUN echo no such package; exit 3")
    failed = site.run("deploy", exit_status=1).stderr
    assert "no such package" in failed
    assert "Slot a" in failed
    assert fetch(site.url).startswith("1 ")
    site.assert_only_serves("a")
    site.commit("3")
    site.run("deploy")
    assert fetch(site.url).startswith("3 ")


@pytest.mark.parametrize("site", ["docker", "podman"], indirect=True)
def test_a_registry_that_goes_down_before_the_push_is_told(site: BuildSite, images: Registry) -> None:
    site.commit("1")
    site.run("deploy")
    site.commit("2")
    site.before_push(f"kill {images.pid}")
    failed = site.run("deploy", exit_status=1).stderr
    assert f"`{site.kind} push {site.name}:{site.repository.head()}` failed" in failed
    assert "refused" in failed
    assert f"`{site.kind} login {images.address}`" in failed
    assert fetch(site.url).startswith("1 ")
    site.assert_only_serves("a")
    images.stop()
    images.start()
    site.before_push()
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_whoever_is_stopped_while_he_pushes_leaves_nothing(
    site: BuildSite, images: Registry, by: signal.Signals
) -> None:
    first = site.commit("1")
    site.run("deploy")
    site.commit("2")
    site.before_push(f"kill -STOP {images.pid}")
    try:
        with site.popen("deploy", "--json") as deployer:
            assert deployer.stdout
            for line in deployer.stdout:
                if json.loads(line).get("line", "").startswith("$ docker push"):
                    break
            deployer.send_signal(by)
            deployer.communicate(timeout=120)
        assert deployer.returncode != 0
        eventually(lambda: site.app()["deployment"] is None, "it is settled", patience=60)
    finally:
        os.kill(images.pid, signal.SIGCONT)
    assert fetch(site.url).startswith("1 ")
    site.assert_only_serves("a")
    site.before_push()
    third = site.commit("3")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "3"}
    assert site.named_here() == {first, third}


def test_a_registry_with_a_login_knows_the_one_of_who_deploys(
    cluster: Cluster,
    docker: Dockerd,
    docker_builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with registry(tmp_path / "registry", login=True, host=cluster.here) as made:
        docker.end()
        docker.start(f"--insecure-registry={made.address}")
        monkeypatch.setenv("HOME", str(home(tmp_path, made)))
        cluster.trust_registry(made.address)
        if not docker_builder("image", "ls", "--quiet", BASE):
            docker_builder("import", "-", BASE, input=app_base())
        site = BuildSite(tmp_path / "site", cluster, made, "docker", docker_builder)
        try:
            site.commit("1")
            failed = site.run("deploy", exit_status=4).stderr
            assert "no basic auth credentials" in failed
            assert f"`docker login {made.address}`" in failed
            docker("login", "--username", USER, "--password-stdin", made.address, input=PASSWORD.encode())
            pull_secret(site, tmp_path / "docker" / "config.json")
            site.run("deploy")
            assert fetch(site.url).startswith("1 ")
            for file in (site.root / "deploy").rglob("*"):
                assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()
        finally:
            site.close()


def pull_secret(site: BuildSite, login: Path) -> None:
    """As docs/kubernetes.md says it."""
    kubectl = ["--namespace", site.namespace]
    site.cluster.kubectl(
        *(*kubectl, "create", "secret", "generic", "registry", "--type=kubernetes.io/dockerconfigjson"),
        f"--from-file=.dockerconfigjson={login}",
    )
    site.cluster.kubectl(
        *(*kubectl, "patch", "serviceaccount", "default", "--patch"),
        json.dumps({"imagePullSecrets": [{"name": "registry"}]}),
    )
