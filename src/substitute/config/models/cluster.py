"""The table [cluster]."""

from __future__ import annotations

from substitute.config.tables import Table, key, optional
from substitute.config.values import KubernetesName, Line, Machines, Nodes, choice


class ClusterConfig(Table):
    """The cluster that keeps the instances of apps, if `runtime.kind` is `kubernetes` (docs/kubernetes.md)."""

    nodes = key(
        Nodes,
        "The addresses of its nodes, as this machine reaches them: HAProxy sends the requests to the slots' ports "
        "there.",
        default=(),
        example=["10.0.0.11", "10.0.0.12", "10.0.0.13"],
    )
    edges = key(
        Machines,
        "What the machines are called (`hostname`) that have this substitute.toml in a directory of the same path, and "
        "lead requests to the same slots. Without it: this one alone.",
        default=(),
        example=["edge1", "edge2"],
    )
    namespace = optional(
        KubernetesName,
        "The namespace in which everything is made. Without it: that of the context, else `default`.",
        example="shop",
    )
    context = optional(
        Line,
        "The context of the kubeconfig: which cluster, and as whom. Without it: the current one.",
        example="production",
    )
    kubeconfig = optional(
        Line,
        "The kubeconfig, relative to the root. Without it: what KUBECONFIG says, else `~/.kube/config`.",
        example="/etc/substitute/kubeconfig",
    )
    claim = optional(
        KubernetesName,
        "The PersistentVolumeClaim that keeps what apps have in `shared`. Pods of both slots, on any node, use it at "
        "the same time, so it must offer ReadWriteMany.",
        example="shop-files",
    )
    builder = optional(
        choice("podman", "docker"),
        "What builds the images of apps with a `dockerfile` on this machine, and pushes them. Without it: `podman` if "
        "it is installed, else `docker`.",
        example="docker",
    )
