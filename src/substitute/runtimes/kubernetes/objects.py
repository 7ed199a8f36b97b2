"""What a cluster is told of a program: the objects of its API. Nothing here asks anybody."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

from substitute.core.model.environment import OF_THIS_MACHINE
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.health import ANY_GOOD
from substitute.core.model.programs import Protection
from substitute.runtimes.containers import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.health import Health
    from substitute.core.model.programs import Container, Limits, Program

ROOT, NAME, STARTED = "substitute/root", "substitute/name", "substitute/started"
"""Labels: whose it is, what it is called there, and of the pods of which start it is one. The annotations of the first
two names say where the root is, and what that calls it: no label holds a path, and no object's name an underscore."""
CONTAINER = "app"
_GONE_FOR = 5
"""Seconds after which pods of a node that the cluster has given up are made elsewhere. That alone takes it about 50."""
_LOST = ("not-ready", "unreachable")
_CLAIM = "shared"


def name_of(name: str) -> str:
    """What an instance is called in a cluster, whose names have no underscore: ``shop-a``, ``shop-a-worker-1``."""
    return name.replace("_", "-")


def command_name(name: str, prefix: str) -> str:
    """What the pod of a command is called: two roots in one namespace both have a ``run-7``."""
    return f"{name_of(name)}-{prefix.rpartition('-')[2]}"


def labels(prefix: str, name: str) -> dict[str, str]:
    """By which all objects of an instance are found. `prefix` is what its root is called."""
    return {ROOT: prefix, NAME: name_of(name)}


def secret(name: str, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Its environment: who may see pods need not see that."""
    values = {
        key: base64.b64encode(value.encode(errors="surrogateescape")).decode()
        for key, value in environment.items()
        if key not in OF_THIS_MACHINE
    }
    return {
        **_head("v1", "Secret", name, {**labels(prefix, name), "app.kubernetes.io/managed-by": "substitute"}),
        "data": values,
    }


def service(program: Program, container: Container, prefix: str) -> dict[str, Any]:
    """What leads from a port of every node to those of the pods that are on it.

    ``Local``: a node that has none of them, or has lost them, takes no connection, and HAProxy passes over it. With
    ``Cluster`` each node would hand on to all, also to a node that is gone, until the cluster has noticed.
    """
    (node_port,) = {endpoint.port for endpoint in container.published}
    (port,) = set(container.published.values())
    return {
        **_head("v1", "Service", program.name, labels(prefix, program.name)),
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": "Local",
            "selector": labels(prefix, program.name),
            "ports": [{"name": "web", "port": port, "targetPort": port, "nodePort": node_port}],
        },
    }


def deployment(
    program: Program, container: Container, *, prefix: str, root: Path, started: str, claim: str
) -> dict[str, Any]:
    """The pods of `program`, all of one version: it is replaced as a whole, in the other slot, and never rolled.

    Raises RuntimeFailedError for what no pod can have.
    """
    own = labels(prefix, program.name)
    told = {key.removeprefix("SUBSTITUTE_").lower(): value for key, value in program.fields.items()}
    about = {
        **{f"substitute/{key}": value for key, value in told.items()},
        ROOT: str(root),
        NAME: program.name,
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": own},
    }
    pod = {
        **pod_spec(container, claim=claim, grace=math.ceil(program.stop_timeout)),
        "containers": [_container(program, container, root)],
        "topologySpreadConstraints": [spread],
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{state}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _GONE_FOR,
            }
            for state in _LOST
        ],
    }
    head = _head(
        "apps/v1", "Deployment", program.name, {**own, "app.kubernetes.io/managed-by": "substitute"}, about
    )
    head["metadata"]["labels"][STARTED] = started
    return {
        **head,
        "spec": {
            "replicas": program.replicas,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": own},
            "template": {
                "metadata": {"labels": {**own, STARTED: started}, "annotations": about},
                "spec": pod,
            },
        },
    }


def pod_spec(container: Container, *, claim: str, grace: int) -> dict[str, Any]:
    """What all pods have alike. Raises RuntimeFailedError where files are shared, and no claim has them."""
    if container.mounts and not claim:
        raise RuntimeFailedError(
            "What is shared has no place in this cluster.",
            fact=f"{', '.join(str(one.target) for one in container.mounts)} would be on one node, and not on others.",
            cure="Make a PersistentVolumeClaim with ReadWriteMany, and name it: cluster.claim.",
        )
    volumes = [{"name": _CLAIM, "persistentVolumeClaim": {"claimName": claim}}] if container.mounts else []
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": max(grace, 1),
        **({"volumes": volumes} if volumes else {}),
    }


def mounts(container: Container, root: Path) -> list[dict[str, Any]]:
    """Each path that is shared, at the place in the claim that it has below ``deploy/`` on one machine."""
    return [
        {
            "name": _CLAIM,
            "mountPath": str(one.target),
            "subPath": str(one.source.relative_to(root / "deploy")),
        }
        for one in container.mounts
    ]


def _container(program: Program, container: Container, root: Path) -> dict[str, Any]:
    given = arguments(program.command)
    listens = sorted(set(container.published.values()))
    ports = [{"name": "web", "containerPort": port} for port in listens]
    found: dict[str, Any] = {
        "name": CONTAINER,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        **({"args": given} if given else {}),
        "envFrom": [{"secretRef": {"name": name_of(program.name)}}],
        **({"ports": ports} if ports else {}),
        "securityContext": {
            "allowPrivilegeEscalation": Protection.NO_NEW_PRIVILEGES not in program.protections
        },
        **limits(program.limits),
    }
    if ports and program.health:
        found["readinessProbe"] = readiness(program.health, listens[0])
    if places := mounts(container, root):
        found["volumeMounts"] = places
    return found


def readiness(health: Health, port: int) -> dict[str, Any]:
    """When a pod is ready by the cluster's own judgement: as near to the health check as that can tell.

    The cluster takes any status from 200 to 399 for good, and looks at no text.
    """
    often = {"periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 5}
    if health.command:
        return {"exec": {"command": ["/bin/sh", "-c", health.command]}, **often, "timeoutSeconds": 10}
    if health.kind != "http" or health.status != ANY_GOOD:
        return {"tcpSocket": {"port": port}, **often}
    said = {**({"Host": health.host} if health.host else {}), **health.headers}
    headers = [{"name": name, "value": value} for name, value in said.items()]
    return {
        "httpGet": {"path": health.path, "port": port, **({"httpHeaders": headers} if headers else {})},
        **often,
    }


def limits(of: Limits) -> dict[str, Any]:
    """What a container may use, and is promised: so the cluster kills it for no other one's sake."""
    found = {}
    if of.memory is not None:
        found["memory"] = str(of.memory)
    if of.cpu is not None:
        found["cpu"] = f"{round(of.cpu * 1000)}m"
    return {"resources": {"limits": found, "requests": found}} if found else {}


def _head(
    version: str,
    kind: str,
    name: str,
    own: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    about = {"annotations": dict(annotations)} if annotations else {}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name_of(name), "labels": dict(own), **about},
    }
