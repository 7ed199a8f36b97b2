"""Measures deployments into a real cluster, by substitute and by `kubectl rollout`; writes into docs/kubernetes.md.

    python -m bench.kubernetes [ROUNDS]

Three nodes, three pods, one app that finishes its requests after SIGTERM. wrk asks without a pause, GET and POST on 16
connections each, and never repeats a request: through HAProxy of the edge, where substitute deploys, and at one node's
port, where Kubernetes rolls (maxSurge 1, maxUnavailable 0, the same probe). `make test-kubernetes` installs all.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.clusters.cluster import Cluster, start_cluster
from tests.clusters.images import PORT
from tests.clusters.site import ClusterSite, home, push
from tests.e2e.registries import registry

from bench import pages
from bench.swaps import Seen, loaded_at

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "| who deploys | a deployment | requests/s | failed GET | failed POST |\n|---|---|---|---|---|\n"
NODE_PORT = 30090


def main(rounds: int) -> None:
    """Measure, print and write."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="substitute-bench-")))
        (place / "cluster").mkdir()
        cluster = stack.enter_context(start_cluster(place / "cluster", 3))
        images = stack.enter_context(registry(place / "registry", host=cluster.here))
        cluster.trust_registry(images.address)
        references = {tag: push(images, place, tag) for tag in ("v1", "v2")}
        os.environ["HOME"] = str(home(place, images))
        site = ClusterSite(place / "site", cluster, images, "ours", (30091, 30092))
        rows = [
            _row("`substitute deploy`", *ours(place, site, rounds)),
            _row("`kubectl rollout`", *theirs(place, cluster, references, rounds)),
        ]
    table = HEAD + "".join(rows)
    note = (
        f"\n{rounds} deployments each, under load; the time is their median. Three nodes and all else share "
        f"{os.cpu_count()} cores.\n"
        f"`python -m bench.kubernetes {rounds}`.\n"
    )
    pages.write("kubernetes.md", table + note)


def ours(place: Path, site: ClusterSite, rounds: int) -> tuple[list[float], list[Seen]]:
    """Seconds of each deployment, and what clients saw."""
    try:
        site.run("deploy", "v1")
        tags = cycle(["v2", "v1"])
        return _timed(place, site.url, rounds, lambda: site.run("deploy", next(tags)))
    finally:
        site.close()


def theirs(
    place: Path, cluster: Cluster, references: dict[str, str], rounds: int
) -> tuple[list[float], list[Seen]]:
    """The same of a rolling update."""
    cluster.apply(*_objects(references["v1"]))
    _await(cluster)
    images = cycle([references["v2"], references["v1"]])

    def roll() -> None:
        cluster.kubectl("set", "image", "deployment/rolled", f"app={next(images)}")
        _await(cluster)

    node = next(iter(cluster.nodes.values()))
    return _timed(place, f"http://{node}:{NODE_PORT}/", rounds, roll)


def _await(cluster: Cluster) -> None:
    cluster.kubectl("rollout", "status", "deployment/rolled", "--timeout=120s")


def _timed(
    place: Path, url: str, rounds: int, deploy: Callable[[], object]
) -> tuple[list[float], list[Seen]]:
    found: list[float] = []

    def act() -> None:
        for _ in range(rounds):
            began = time.monotonic()
            deploy()
            found.append(time.monotonic() - began)
            time.sleep(1)

    return found, loaded_at(url, place, act)


def _row(name: str, seconds: list[float], seen: list[Seen]) -> str:
    rate = sum(one.requests / one.seconds for one in seen)
    failed = (f"**{one.failed}** of {one.requests:,}" for one in seen)
    return f"| {name} | {statistics.median(seconds):.1f} s | {rate:,.0f} | {' | '.join(failed)} |\n"


def _objects(image: str) -> list[dict[str, Any]]:
    labels = {"app": "rolled"}
    container = {
        "name": "app",
        "image": image,
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": PORT},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
    }
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    service = {
        "type": "NodePort",
        "selector": labels,
        "ports": [{"port": PORT, "targetPort": PORT, "nodePort": NODE_PORT}],
    }
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled"}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "rolled"}, "spec": service},
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
