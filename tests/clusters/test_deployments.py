"""An app in a cluster, by the commands that anybody types: what users see, and whether a request fails."""

from __future__ import annotations

import itertools
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.clusters.site import ClusterSite, home, push
from tests.e2e.registries import Registry, registry
from tests.e2e.site import fetch
from tests.e2e.traffic import flowing, under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clusters.cluster import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

_NUMBERS = itertools.count()


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
    site.replicas = 3
    site.configure()
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
    site.replicas = 2
    site.configure(more='health = { path = "/healthz", timeout = "8s" }\n')
    failed = site.run("deploy", "sick", exit_status=1)
    assert "0 of 2 pods are ready" in failed.stderr
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
    assert f"`skopeo inspect --no-tags --format '{{{{.Digest}}}}' docker://{image}`" in failed.stderr
    assert f"`skopeo login {site.registry.address}`" in failed.stderr


def test_status_logs_and_down_know_a_cluster(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    slot = site.app()["slots"]["a"]
    assert (slot["state"], slot["pid"], slot["restarts"]) == ("live", None, 0)
    fetch(site.url + "here")
    eventually(lambda: "GET /here" in site.run("logs", "a", "-n", "50").stdout, "the log has the request")
    site.run("down")
    assert site.pods() == []
    assert site.left("deployments,services,secrets") == [], "the ports are given back"
    site.run("up")
    assert fetch(site.url).startswith("v1 ")


def test_logs_are_followed_from_one_version_to_the_next(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    with site.popen("logs", "-f", "-n", "200") as following:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(following.stdout or ()))
        reader.start()

        def told(text: str) -> bool:
            return any(text in line for line in list(lines))

        try:
            eventually(lambda: told("listens"), "what was written before is told")
            fetch(site.url + "first")
            eventually(lambda: told("GET /first"), "a line is told when it is written")
            site.run("deploy", "v2")
            fetch(site.url + "second")
            eventually(lambda: told("GET /second"), "and so are those of the next version")
            eventually(lambda: told("was told to stop"), "and the last words of the one before")
        finally:
            following.send_signal(signal.SIGINT)
            reader.join(30)
    assert sum("GET /first" in line for line in lines) == 1, "each line once"


# -- all that an app has around it ---------------------------------------------------------------------


def test_release_run_workers_and_crons_have_pods_of_their_own(site: ClusterSite, tmp_path: Path) -> None:
    site.quota(memory="1Gi", cpu="2")
    site.configure(
        more='env = { WHO = "it" }\nlimits = { memory = "128M", cpu = "20%" }\n'
        """release = ["echo $WHO migrates $VERSION"]\n"""
        """[app.shop.process.worker]\nstart = "/bin/sh -c 'trap \\"exit 0\\" TERM; echo works; sleep 1000 & wait'"\n"""
        """limits = { memory = "64M", cpu = "10%" }\n"""
        """[app.shop.cron.tick]\nat = "@yearly"\ncommand = "echo ticks $WHO"\n"""
    )
    assert "it migrates v1" in site.run("deploy", "v1").stdout
    assert len(site.pods("substitute/name=shop-a-worker-1")) == 1
    eventually(lambda: "works" in site.run("logs", "a_worker_1").stdout, "the worker's log is told")
    ran = site.run("run", "--", "/bin/sh", "-c", "echo $WHO; exit 7", exit_status=7)
    assert ran.stdout == "it\n"
    with (tmp_path / "dump").open("w+") as dump:
        dump.write("it")
        dump.seek(0)
        with site.popen("run", "--", "/bin/cat", stdin=dump) as refused:
            assert "has no standard input" in refused.communicate(timeout=60)[1]
    assert refused.returncode == 2
    site.run("cron", "run", "tick")
    eventually(lambda: "ticks it" in site.run("logs", "cron-tick").stdout, "the cron has run")
    site.run("deploy", "v2")
    assert site.pods("substitute/name=shop-a-worker-1") == []
    assert len(site.pods("substitute/name=shop-b-worker-1")) == 1
    others = site.pods("substitute/name notin (shop-b, shop-b-worker-1)")
    assert others == [], "commands leave nothing"


def test_a_command_that_is_interrupted_ends_with_its_pod(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    with site.popen(
        "run", "--", "/bin/sh", "-c", "trap 'exit 0' TERM; echo here; sleep 1000 & wait"
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    eventually(lambda: site.pods("substitute/name notin (shop-a)") == [], "its pod is gone", patience=60)


def test_what_stands_by_takes_over_at_once_and_a_canary_is_drawn(site: ClusterSite) -> None:
    site.replicas = 2
    site.configure(more='[app.shop.standby]\nkeep = "1h"\n[app.shop.canary]\nsteps = ["50% 3s"]\n')
    site.run("deploy", "v1")
    pods: set[str] = set()

    def back() -> None:
        pods.update(pod["metadata"]["name"] for pod in site.pods("substitute/name=shop-a"))
        assert "as it stands" in site.run("rollback").stdout

    assert under_load(site, lambda: site.run("deploy", "v2"), back) == {"v1", "v2"}
    assert {pod["metadata"]["name"] for pod in site.pods("substitute/name=shop-a")} == pods, "nothing started"


def test_what_is_shared_needs_a_claim_that_can_be(site: ClusterSite) -> None:
    site.configure(more='shared = ["media/"]\n')
    assert "What is shared has no place in this cluster." in site.run("deploy", "v1", exit_status=4).stderr
    site.configure(more='shared = ["media/"]\n', cluster='claim = "files"\n')
    assert "There is no PersistentVolumeClaim files" in site.run("deploy", "v1", exit_status=4).stderr
    site.claim("files", "ReadWriteOnce")
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert "It offers ReadWriteOnce" in failed


def test_files_that_are_shared_outlive_a_version(site: ClusterSite) -> None:
    site.claim("files", "ReadWriteMany")
    site.configure(more='shared = ["media/"]\n', cluster='claim = "files"\n')
    site.run("deploy", "v1")
    site.run("run", "--", "/bin/sh", "-c", "echo kept >media/it")
    site.run("deploy", "v2")
    assert site.run("run", "--", "/bin/cat", "media/it").stdout == "kept\n"


# -- what goes wrong ----------------------------------------------------------------------------------


def test_what_others_have_made_is_left_alone(site: ClusterSite) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop-a", "namespace": site.namespace},
    }
    site.cluster.apply(theirs)
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert f"There is a Secret shop-a in the namespace {site.namespace} already." in failed
    assert "substitute has not made it." in failed


def test_while_versions_run_no_other_namespace_is_meant(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    here, site.namespace = site.namespace, "default"
    site.configure()
    refused = site.run("status", exit_status=2).stderr
    assert f"They run in namespace {here} of context" in refused
    site.namespace = here
    site.configure()
    site.run("deploy", "v2")
    assert fetch(site.url).startswith("v2 ")


def test_a_deployer_that_is_killed_leaves_nothing_to_repair(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    site.configure(more='health = { path = "/healthz", timeout = "100s" }\n')
    with site.popen("deploy", "sick") as deployer:
        eventually(lambda: "shop-b" in site.names(), "it has begun", patience=60)
        deployer.kill()
    eventually(lambda: site.names() == {"shop-a"}, "its guardian has settled", patience=120)
    assert fetch(site.url).startswith("v1 ")
    site.configure()
    site.run("deploy", "v2")
    assert fetch(site.url).startswith("v2 ")


def test_a_lost_journal_is_made_anew_from_the_cluster(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    before = {pod["metadata"]["name"] for pod in site.pods()}
    for file in (site.root / "deploy").glob("journal.db*"):
        file.unlink()
    assert "shop is live in slot a" in site.run("status").stderr
    assert fetch(site.url).startswith("v1 ")
    site.run("up")
    assert {pod["metadata"]["name"] for pod in site.pods()} == before
    assert under_load(site, lambda: site.run("deploy", "v2")) == {"v1", "v2"}


def test_tokens_and_plugins_are_as_good_as_certificates(site: ClusterSite) -> None:
    token = site.cluster.token()
    site.kubeconfig = site.cluster.token_kubeconfig(token)
    site.configure()
    site.run("deploy", "v1")
    site.kubeconfig = site.cluster.plugin_kubeconfig(token)
    site.configure()
    site.run("deploy", "v2")
    assert fetch(site.url).startswith("v2 ")


def test_who_may_not_is_told_what(site: ClusterSite) -> None:
    token = site.cluster.token("viewer", role="view")
    site.kubeconfig = site.cluster.token_kubeconfig(token, "viewer")
    site.configure()
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert "is forbidden" in failed
    assert "docs/kubernetes.md has the Role that is needed." in failed


def test_a_port_that_another_service_has_is_said(site: ClusterSite) -> None:
    port = {"port": 80, "nodePort": site.node_ports[0]}
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "theirs", "namespace": site.namespace},
        "spec": {"type": "NodePort", "ports": [port]},
    }
    site.cluster.apply(theirs)
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert "provided port is already allocated" in failed
    assert "`kubectl get services --all-namespaces` shows which" in failed


def test_a_quota_that_is_exceeded_is_said(site: ClusterSite) -> None:
    site.quota(memory="64Mi", cpu="1")
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert "for each process too" in failed
    site.configure(more='limits = { memory = "128M", cpu = "20%" }\n')
    failed = site.run("deploy", "v1", exit_status=4).stderr
    assert "exceeded quota" in failed
    assert "Raise the ResourceQuota" in failed


def test_while_the_api_server_is_gone_the_app_serves(site: ClusterSite) -> None:
    site.run("deploy", "v1")
    cluster = site.cluster
    cluster.power_off("control")
    try:
        assert fetch(site.url).startswith("v1 ")
        assert site.app()["live"] == "a"
        failed = site.run("deploy", "v2", exit_status=1).stderr
        assert "does not answer" in failed
        assert fetch(site.url).startswith("v1 ")
    finally:
        cluster.power_on("control")
        eventually(lambda: _all_ready(cluster), "all nodes are known again", patience=120)
    site.run("deploy", "v2")
    assert fetch(site.url).startswith("v2 ")


def _all_ready(cluster: Cluster) -> bool:
    with suppress(OSError):
        return cluster.ready() == set(cluster.nodes)
    return False


def test_a_node_that_loses_its_power_fails_no_get(site: ClusterSite) -> None:
    site.replicas = 3
    site.configure()
    site.run("deploy", "v1")
    cluster = site.cluster
    try:
        with flowing(site.url) as first, flowing(site.url, keepalive=False) as second:
            for load in (first, second):
                load.wait_for(200)
            cluster.power_off("node2")
            for load in (first, second):
                load.wait_for(500, patience=120)
            reports = [first.stop(), second.stop()]
    finally:
        cluster.power_on("node2")
    assert [failure for report in reports for failure in report.failures] == []


def test_a_node_that_is_drained_fails_no_request(site: ClusterSite) -> None:
    site.replicas = 3
    site.configure()
    site.run("deploy", "v1")
    cluster = site.cluster
    try:
        assert under_load(site, lambda: cluster.drain("node1")) == {"v1"}
    finally:
        cluster.uncordon("node1")
