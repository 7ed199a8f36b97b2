"""The cluster that other tests stand on. The tests of this file share one, and leave it as it was."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clusters.cluster import Cluster, start_cluster
from tests.clusters.images import PORT, write_app
from tests.e2e.registries import registry
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

NODE_PORT = 30080
LABELS = {"app": "shop"}


@pytest.fixture(scope="module")
def kept(cluster: Cluster) -> Iterator[Cluster]:
    """What a test leaves of the app is there for the next one."""
    yield cluster
    cluster.kubectl("delete", "deployment/shop", "service/shop", "--wait=false")


@pytest.fixture
def shop(kept: Cluster) -> Cluster:
    """A Deployment of it, with a pod on each node, behind a NodePort."""
    kept.apply(deployment(3), SERVICE)
    kept.kubectl("rollout", "status", "deployment/shop", "--timeout=120s")
    return kept


SERVICE: Mapping[str, object] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop"},
    "spec": {
        "type": "NodePort",
        "selector": LABELS,
        "ports": [{"port": 80, "targetPort": PORT, "nodePort": NODE_PORT}],
    },
}


def deployment(replicas: int) -> Mapping[str, object]:
    """So many pods, spread over the nodes."""
    container = {
        "name": "shop",
        "image": "localhost/shop:v1",
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": LABELS},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [container], "topologySpreadConstraints": [spread]},
            },
        },
    }


def ask(address: str, path: str = "/", body: bytes | None = None) -> tuple[int, str]:
    """What the app says at the NodePort of a node."""
    connection = HTTPConnection(address, NODE_PORT, timeout=20)
    try:
        connection.request("POST" if body else "GET", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def answers(address: str) -> bool:
    with suppress(OSError, HTTPException):
        return ask(address)[0] == 200
    return False


def test_every_node_is_ready_and_none_has_another_version(cluster: Cluster) -> None:
    assert cluster.ready() == {"node1", "node2", "node3"} == set(cluster.nodes)
    told = {node["status"]["nodeInfo"]["kubeletVersion"] for node in cluster.get("/api/v1/nodes")["items"]}
    assert told == {json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]}


def test_an_app_answers_at_its_port_on_every_node(shop: Cluster) -> None:
    for address in shop.nodes.values():
        eventually(lambda at=address: answers(at), f"{address} answers")  # type: ignore[misc]
        status, said = ask(address)
        assert (status, said.split()[0]) == (200, "v1")
        status, said = ask(address, "/slow?seconds=0.1", b"posted")
        assert (status, said) == (200, "posted")
    placed = shop.kubectl("get", "pods", "-l", "app=shop", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert set(placed.split()) == set(shop.nodes)


def test_a_request_that_is_under_way_is_answered_though_its_pod_is_told_to_stop(shop: Cluster) -> None:
    shop.kubectl("scale", "deployment/shop", "--replicas=1")
    eventually(lambda: len(shop.kubectl("get", "pods", "-l", "app=shop", "-o", "name").split()) == 1)
    address = shop.nodes["node1"]
    eventually(lambda: answers(address))
    command = ["curl", "--silent", f"http://{address}:{NODE_PORT}/slow?seconds=3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        pod = shop.kubectl("get", "pods", "-l", "app=shop", "-o", "name").strip()
        eventually(lambda: "/slow" in logs_of_connections(shop, pod), "the request has arrived")
        shop.kubectl("scale", "deployment/shop", "--replicas=0")
        said = client.communicate()[0]
    assert said == f"v1 {pod.removeprefix('pod/')}\n"


def logs_of_connections(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("logs", pod)


def test_what_its_programs_print_and_run_can_be_had(shop: Cluster) -> None:
    assert "listens" in shop.kubectl("logs", "deployment/shop")
    assert shop.kubectl("exec", "deployment/shop", "--", "sh", "-c", "echo $VERSION") == "v1\n"


def test_a_job_runs_another_command_of_the_image(cluster: Cluster) -> None:
    cluster.kubectl("create", "job", "said", "--image=localhost/shop:v1", "--", "sh", "-c", "echo done")
    cluster.kubectl("wait", "job/said", "--for=condition=complete", "--timeout=120s")
    assert cluster.kubectl("logs", "job/said") == "done\n"
    cluster.kubectl("delete", "job/said")


def test_an_image_comes_from_a_registry_by_its_digest(cluster: Cluster, tmp_path: Path) -> None:
    with (tmp_path / "app.tar").open("wb") as out:
        write_app(out, "shop:v2", "v2")
    with registry(tmp_path / "registry", host=cluster.here) as there:
        cluster.trust_registry(there.address)
        image = there.push(tmp_path / "app.tar", "shop:v2")
        cluster.kubectl("run", "fetched", f"--image={image}", "--port=8080")
        cluster.kubectl("wait", "pod/fetched", "--for=condition=Ready", "--timeout=120s")
        assert "v2 fetched listens" in cluster.kubectl("logs", "fetched")
        cluster.kubectl("delete", "pod/fetched")


def test_a_drained_node_has_no_pod_of_the_app(shop: Cluster) -> None:
    shop.kubectl("scale", "deployment/shop", "--replicas=2")
    shop.drain("node2")
    asked = ("get", "pods", "-l", "app=shop", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert "node2" not in shop.kubectl(*asked).split()
    shop.uncordon("node2")


def test_a_node_that_loses_its_power_is_missed_and_comes_back(shop: Cluster) -> None:
    shop.power_off("node3")
    eventually(lambda: shop.ready() == {"node1", "node2"}, "the node is missed", patience=120)
    assert not answers(shop.nodes["node3"])
    shop.power_on("node3")
    assert shop.ready() == set(shop.nodes)
    eventually(lambda: answers(shop.nodes["node3"]), "its port answers again", patience=120)
    shop.kubectl("rollout", "status", "deployment/shop", "--timeout=120s")


def test_the_control_plane_may_be_gone_for_a_while_and_apps_answer(shop: Cluster) -> None:
    eventually(lambda: all(answers(address) for address in shop.nodes.values()))
    shop.power_off("control")
    with pytest.raises(OSError, match=r"."):
        shop.get("/readyz")
    assert all(answers(address) for address in shop.nodes.values())
    shop.power_on("control")
    eventually(lambda: shop.ready() == set(shop.nodes), "all nodes are ready again", patience=120)


@pytest.mark.parametrize("way", ["token", "plugin"])
def test_who_has_a_token_may_do_what_its_role_may(cluster: Cluster, way: str) -> None:
    token = cluster.token("viewer", role="view")
    made = {"token": cluster.token_kubeconfig, "plugin": cluster.plugin_kubeconfig}[way](token)
    who = ("--kubeconfig", str(made))
    assert cluster.kubectl(*who, "auth", "can-i", "list", "pods").strip() == "yes"
    assert cluster.kubectl(*who, "auth", "can-i", "create", "deployments", check=False).strip() == "no"
    if way == "plugin":
        assert (cluster.directory / "plugin.calls").read_text() == "asked\nasked\n"


def test_its_certificate_is_verified(cluster: Cluster) -> None:
    host = cluster.server.removeprefix("https://").rpartition(":")[0]
    assert ssl.get_server_certificate((host, 6443), ca_certs=str(cluster.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.get_server_certificate((host, 6443), ca_certs="/etc/ssl/certs/ca-certificates.crt")


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    before = descendants()
    with start_cluster(tmp_path / "whole", nodes=1) as cluster:
        traces = traces_of(cluster)
        assert len(descendants()) > len(before)
    assert not [path for path in traces if path.exists()]
    assert descendants() <= before


def test_nor_of_one_that_did_not_come_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descendants()
    traces = []

    def fail(cluster: Cluster, _: str) -> None:
        traces.extend(traces_of(cluster))
        raise RuntimeError("half-way")

    monkeypatch.setattr(Cluster, "_install_node", fail)
    with pytest.raises(RuntimeError, match="half-way"), start_cluster(tmp_path / "half", nodes=1):
        pass
    assert not [path for path in traces if path.exists()]
    assert descendants() <= before


def traces_of(cluster: Cluster) -> list[Path]:
    """What of a running cluster can be seen from here: its link, its machines' directories and control groups."""
    machines = [cluster.machine(name) for name in ("control", *cluster.nodes)]
    names = {f"substitute-{machine._power.pid}" for machine in machines if machine._power}
    groups = [path for name in names for path in Path("/sys/fs/cgroup").glob(f"*/{name}")]
    groups += [path for name in names for path in Path("/sys/fs/cgroup").glob(name)]
    found = [
        Path("/sys/class/net") / cluster._network._link,
        *(machine._directory for machine in machines),
        *groups,
    ]
    assert len(groups) >= len(machines)
    assert all(path.exists() for path in found)
    return found


def descendants() -> set[int]:
    """The processes that this one has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, parent = path.parent.name, path.read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(pid))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found
