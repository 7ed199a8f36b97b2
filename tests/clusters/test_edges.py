"""Two edges in front of one cluster: whichever is typed on, the other one follows; and either may be gone."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import LockedError
from substitute.core.ports.edges import Told
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.edges import ClusterEdges
from tests.clusters.edges import LISTENS, Edge, files_of
from tests.clusters.site import push
from tests.documents import DOCS
from tests.e2e.registries import registry
from tests.e2e.site import fetch
from tests.e2e.traffic import ENOUGH, flowing
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.clusters.cluster import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

Edges = tuple[Edge, Edge]
_NAMESPACE = "edges"


@pytest.fixture(scope="module")
def edges(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    """Both, with version v1 live, which edge1 has deployed."""
    place = tmp_path_factory.mktemp("registry")
    with registry(place / "it", host=cluster.here) as images, ExitStack() as stack:
        cluster.trust_registry(images.address)
        for tag in ("v1", "v2", "v3", "sick"):
            push(images, place, tag)
        cluster.kubectl("create", "namespace", _NAMESPACE)
        stack.callback(cluster.kubectl, "delete", "namespace", _NAMESPACE, "--wait=false")
        first, second = made = Edge(cluster, 1), Edge(cluster, 2)
        files = files_of(cluster, images, _NAMESPACE, (30300, 30301), names=(first.name, second.name))
        for edge in made:
            stack.callback(edge.machine.down)
            edge.switch_on(files)
        first.run("deploy", "v1")
        second.run("up")
        yield made


def test_what_edges_tell_each_other_is_changed_by_one_at_a_time(cluster: Cluster, tmp_path: Path) -> None:
    cluster.kubectl("create", "namespace", "told")
    settings = Settings(str(cluster.kubeconfig), namespace="told").dump()
    one, other = (ClusterEdges(tmp_path, settings, name) for name in ("one", "other"))
    word = one.tell("shop", "v1 is live", after="")
    assert other.told("shop") == Told("one", word, "v1 is live")
    with pytest.raises(LockedError, match="one has worked on shop meanwhile"):
        other.tell("shop", "v2 is live", after="")
    assert other.tell("shop", "v2 is live", after=word) != word
    one.lead({"shop": ["a"]})
    assert (other.leading("shop", "a"), other.leading("shop", "b")) == (["one"], [])
    with one.hold("shop", "deploy") as after_death:
        assert not after_death
        with pytest.raises(LockedError, match="Another edge") as refused, other.hold("shop", "up"):
            pass
        assert "It is `deploy` on one" in refused.value.fact
        long_ago = json.dumps({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}})
        lease = cluster.kubectl(
            "get", "lease", "-n", "told", "-l", "substitute/edge=one", "-o", "name"
        ).strip()
        cluster.kubectl("patch", lease, "-n", "told", "--type=merge", "-p", long_ago)
        assert other.leading("shop", "a") == []
        with other.hold("shop", "up") as then:
            assert then
            with pytest.raises(LockedError, match="one was taken for dead, and other went on with shop"):
                one.require_held("shop")
            other.require_held("shop")
    cluster.kubectl("delete", "namespace", "told", "--wait=false")


def serves(edge: Edge, version: str) -> bool:
    with suppress(OSError):
        return fetch(edge.url).startswith(f"{version} ")
    return False


def await_version(version: str, *edges: Edge) -> None:
    for edge in edges:
        try:
            eventually(lambda at=edge: serves(at, version), f"{edge.name} serves {version}", patience=90)  # type: ignore[misc]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{edge.log()}") from None


def without_a_failure(edges: tuple[Edge, ...], act: Callable[[], object]) -> set[str]:
    """Do it while GET and POST flow through these edges; the versions that answered."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(flowing(edge.url, method=method))
            for edge in edges
            for method in ("GET", "POST")
        ]
        for load in loads:
            load.wait_for(ENOUGH)
        act()
        for load in loads:
            load.wait_for(ENOUGH)
        reports = [load.stop() for load in loads]
    assert [failure for report in reports for failure in report.failures] == []
    return {version for report in reports for version in report.versions}


def test_whoever_deploys_the_other_one_follows_and_no_request_fails_on_either(edges: Edges) -> None:
    first, second = edges
    for edge, other, version in ((first, second, "v2"), (second, first, "v1")):
        assert version in without_a_failure(edges, lambda at=edge, to=version: at.run("deploy", to))  # type: ignore[misc]
        await_version(version, *edges)
        mine, theirs = edge.app(), other.app()
        assert mine["live"] == theirs["live"]
        assert [one["state"] for one in theirs["slots"].values()].count("live") == 1
    assert "v2" in without_a_failure(edges, lambda: first.run("rollback"))
    await_version("v2", *edges)


def test_an_edge_that_is_taken_down_leaves_the_other_one_what_it_needs(edges: Edges) -> None:
    first, second = edges
    version = fetch(first.url).split()[0]
    assert without_a_failure((first,), lambda: second.run("down")) == {version}
    assert not serves(second, version)
    second.run("up")
    await_version(version, second)


def test_while_one_edge_deploys_the_other_is_refused_and_told_which(edges: Edges) -> None:
    first, second = edges
    with first.popen("deploy", "sick") as deployer:
        try:
            eventually(lambda: pods(first) == 4, "it has begun", patience=60)
            refused = second.run("deploy", "v3", exit_status=3).stderr
        finally:
            first.interrupt("deploy")
            deployer.communicate(timeout=120)
    assert "Another edge is working on shop." in refused
    assert "It is `deploy` on edge1, since" in refused
    assert pods(first) == 2


def test_keepalived_as_it_is_documented_gives_the_address_to_the_edge_that_is_left(
    cluster: Cluster, edges: Edges
) -> None:
    moving = cluster.address(99)
    written = re.search(
        r"^``` (/etc/keepalived\S+)\n(.*?)^```$",
        (DOCS / "kubernetes.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert written
    path, text = written.groups()
    for found, here in (("127.0.0.1/up", f"127.0.0.1:{LISTENS}/healthz"), ("192.0.2.10", moving)):
        assert found in text
        text = text.replace(found, here)
    for edge in edges:
        edge.configure({path: text.encode()})
        edge.machine.run("systemctl", "start", "keepalived")

    def has_it() -> list[Edge]:
        return [one for one in edges if moving in one.machine.run("ip", "-4", "address").stdout]

    eventually(lambda: len(has_it()) == 1, "one of them has the address", patience=60)
    (owner,) = has_it()
    (other,) = set(edges) - {owner}
    assert fetch(f"http://{moving}:{LISTENS}/")
    owner.power_off()
    eventually(
        lambda: moving in other.machine.run("ip", "-4", "address").stdout, "the other has it", patience=60
    )
    assert fetch(f"http://{moving}:{LISTENS}/")
    owner.power_on()
    owner.run("up")
    await_version(fetch(other.url).split()[0], owner)
    other.machine.run("systemctl", "stop", "keepalived")


def test_an_edge_that_dies_in_a_deployment_is_followed_by_the_other_one_and_follows_it_when_it_is_back(
    edges: Edges,
) -> None:
    first, second = edges
    before = str(first.app()["slots"][first.app()["live"]]["commit"])
    with first.popen("deploy", "sick") as deployer:
        eventually(lambda: pods(first) == 4, "it has begun", patience=60)

        def lose_it() -> None:
            first.power_off()
            eventually(lambda: pods(first) == 2, "the other edge has ended what that began", patience=90)

        assert len(without_a_failure((second,), lose_it)) == 1
        deployer.kill()
    assert second.app()["slots"][second.app()["live"]]["commit"] == before
    assert "v3" in without_a_failure((second,), lambda: second.run("deploy", "v3"))
    first.power_on()
    first.run("up")
    await_version("v3", first)
    assert first.app()["live"] == second.app()["live"]
    assert "v1" in without_a_failure(edges, lambda: first.run("deploy", "v1"))
    await_version("v1", *edges)


def pods(edge: Edge) -> int:
    """How many there are, in both slots."""
    return len(edge.cluster.kubectl("get", "pods", "--namespace", _NAMESPACE, "--output", "name").split())


def test_after_down_on_both_one_line_of_the_page_removes_what_they_told_each_other(edges: Edges) -> None:
    for edge in edges:
        edge.run("down")
    cluster = edges[0].cluster
    line = re.search(
        r"^    kubectl -n shop (delete .* --selector substitute/root)$",
        (DOCS / "kubernetes.md").read_text(),
        re.MULTILINE,
    )
    assert line

    def left() -> list[str]:
        kinds = "deployments,services,secrets,leases"
        where = ("--namespace", _NAMESPACE, "--selector", "substitute/root", "--output", "name")
        return cluster.kubectl("get", kinds, *where).split()

    kinds = {one.partition("/")[0] for one in left()}
    assert kinds == {"secret", "lease.coordination.k8s.io"}, "the ports are given back"
    cluster.kubectl("--namespace", _NAMESPACE, *line[1].split())
    assert left() == []
