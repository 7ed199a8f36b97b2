"""A root on this machine whose app runs in a cluster: HAProxy here is the edge, the versions are tags of a registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.clusters.images import PORT, write_app
from tests.e2e.site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clusters.cluster import Cluster
    from tests.e2e.registries import Registry

SELECTED = "substitute/name in (shop-a, shop-b)"


class ClusterSite(Site):
    """The sample app of clusters, in a namespace of its own."""

    def __init__(
        self, place: Path, cluster: Cluster, registry: Registry, namespace: str, ports: tuple[int, int]
    ) -> None:
        self.cluster, self.registry, self.namespace = cluster, registry, namespace
        self.node_ports = ports
        self.kubeconfig = cluster.kubeconfig
        self.replicas = 1
        self.image = f'source = "image"\nimage = "{registry.address}/shop"\n'
        """The keys that say what runs, and where that comes from."""
        super().__init__(place)
        cluster.kubectl("create", "namespace", namespace)

    def configure(self, *, more: str = "", start: str = "", balancer: str = "", cluster: str = "") -> None:
        nodes = json.dumps(list(self.cluster.nodes.values()))
        start = f"start = {json.dumps(start)}\n" if start else ""
        (self.root / "substitute.toml").write_text(
            f'[balancer]\n{self.balancer}\n{balancer}\n[runtime]\nkind = "kubernetes"\n'
            f'[cluster]\nnodes = {nodes}\nnamespace = "{self.namespace}"\nkubeconfig = "{self.kubeconfig}"\n{cluster}'
            f"[app.shop]\n{self.image}container_port = {PORT}\nreplicas = {self.replicas}\n{start}"
            f"ports = [{self.node_ports[0]}, {self.node_ports[1]}]\n{more}"
        )

    def pods(self, selector: str = SELECTED) -> list[dict[str, Any]]:
        """Those of the app, from the API."""
        told = self.cluster.kubectl(
            "get", "pods", "--namespace", self.namespace, "--selector", selector, "--output", "json"
        )
        found: list[dict[str, Any]] = json.loads(told)["items"]
        return found

    def quota(self, *, memory: str, cpu: str) -> None:
        """From now on a pod needs limits, and all together have these."""
        hard = {f"limits.{kind}": most for kind, most in (("memory", memory), ("cpu", cpu))}
        head = {"name": "all", "namespace": self.namespace}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": head, "spec": {"hard": hard}}
        )

    def left(self, kinds: str, selector: str = "substitute/root") -> list[str]:
        """What there is of these kinds, as ``service/shop-a``."""
        told = self.cluster.kubectl(
            *("get", kinds, "--namespace", self.namespace, "--selector", selector, "--output", "name")
        )
        return told.split()

    def claim(self, name: str, mode: str) -> None:
        """A PersistentVolumeClaim that offers `mode`; what it has lies on the first node, and pods are placed there."""
        node = next(iter(self.cluster.nodes))
        at = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        volume = {
            "capacity": {"storage": "1Gi"},
            "accessModes": [mode],
            "storageClassName": f"{self.namespace}-{name}",
            "local": {"path": f"/data/{self.namespace}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [at]}]}},
        }
        claim = {
            "accessModes": [mode],
            "storageClassName": f"{self.namespace}-{name}",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        self.cluster.machine(node).run("mkdir", "-p", f"/data/{self.namespace}")
        head = {"apiVersion": "v1"}
        self.cluster.apply(
            {
                **head,
                "kind": "PersistentVolume",
                "metadata": {"name": f"{self.namespace}-{name}"},
                "spec": volume,
            },
            {
                **head,
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": claim,
            },
        )

    def names(self) -> set[str]:
        """Of which slots pods are there."""
        return {pod["metadata"]["labels"]["substitute/name"] for pod in self.pods()}

    def close(self) -> None:
        try:
            with self.popen("down") as process:
                process.communicate(timeout=120)
        finally:
            super().close()
            self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")


def home(place: Path, registry: Registry) -> Path:
    """A home directory whose user asks `registry` without TLS."""
    settings = place / "home" / ".config" / "containers" / "registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    return place / "home"


def push(registry: Registry, directory: Path, tag: str, version: str = "") -> str:
    """Bring a version of the app to the registry; its reference by digest."""
    archive = directory / f"shop-{tag}.tar"
    with archive.open("wb") as out:
        write_app(out, f"shop:{tag}", version or tag)
    return registry.push(archive, f"shop:{tag}")
