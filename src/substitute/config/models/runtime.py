"""The table [runtime]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.tables import Refused, Table, key, optional
from substitute.config.values import KubernetesName, Line, Nodes, choice

if TYPE_CHECKING:
    from collections.abc import Collection

ENGINES = ("podman", "docker", "kubernetes")
"""Those that run containers."""
_OF_A_CLUSTER = ("kubernetes",)


class RuntimeConfig(Table):
    """The program that keeps the instances running after logouts and crashes."""

    kind = key(
        choice("auto", "systemd", "supervisord", *ENGINES),
        "Which runtime: systemd, or a supervisord that substitute starts. `auto` is `systemd` if it is the init and "
        "keeps this user's programs after a logout (root's always, others' with `loginctl enable-linger`), else "
        "`supervisord`. With `podman` or `docker` apps that have an `image` or a `dockerfile` run in containers "
        "(docs/containers.md), with `kubernetes` in pods of a cluster (docs/kubernetes.md), and all else as with "
        "`auto`.",
        default="auto",
    )
    nodes = key(
        Nodes,
        "The addresses of the cluster's nodes, as this machine reaches them: HAProxy sends the requests to the "
        "slots' ports there.",
        default=(),
        example=["10.0.0.11", "10.0.0.12", "10.0.0.13"],
        kinds=_OF_A_CLUSTER,
    )
    namespace = optional(
        KubernetesName,
        "The namespace in which everything is made. Without it: that of the context, else `default`.",
        example="shop",
        kinds=_OF_A_CLUSTER,
    )
    context = optional(
        Line,
        "The context of the kubeconfig that says which cluster, and as whom. Without it: the current one.",
        example="production",
        kinds=_OF_A_CLUSTER,
    )
    kubeconfig = optional(
        Line,
        "The kubeconfig, relative to the root. Without it: what KUBECONFIG says, else `~/.kube/config`.",
        example="/etc/substitute/kubeconfig",
        kinds=_OF_A_CLUSTER,
    )
    claim = optional(
        KubernetesName,
        "The PersistentVolumeClaim that keeps what apps have in `shared`. Pods of both slots, on any node, use it at "
        "the same time, so it must offer ReadWriteMany.",
        example="shop-files",
        kinds=_OF_A_CLUSTER,
    )

    def agree(self, written: Collection[str]) -> None:
        """A cluster needs its nodes named, and nothing else has a use for what is said of one."""
        self.refuse_foreign(written, by="kind")
        if self.kind in _OF_A_CLUSTER and not self.nodes:
            raise Refused(
                'kind = "kubernetes" needs nodes = [ADDRESS, …]: `kubectl get nodes -o wide` tells their addresses'
            )

    @property
    def engine(self) -> str:
        """What runs containers, or empty."""
        return self.kind if self.kind in ENGINES else ""

    @property
    def beside(self) -> str:
        """The kind of what keeps all that runs in no container."""
        return "auto" if self.engine else self.kind
