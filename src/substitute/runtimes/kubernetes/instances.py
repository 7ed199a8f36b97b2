"""What is asked of running instances, where a cluster has some of them."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.runtimes.kubernetes import pods as states
from substitute.runtimes.kubernetes.failures import Refused, Silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.instances import Instances
    from substitute.runtimes.kubernetes.pods import Pod
    from substitute.runtimes.kubernetes.runtime import Kubernetes

_SECOND = 1_000_000_000
_CONNECTS_WITHIN = 0.5


class ClusterInstances:
    """See `core.ports.instances.Instances`. What is known by no pid is the cluster's, all else this machine's.

    An API server that is silent says nothing against what it keeps: that runs on. Then only who connects shows where.
    """

    def __init__(self, here: Instances, cluster: Kubernetes) -> None:
        """`here` knows those of this machine."""
        self._here = here
        self._cluster = cluster

    def alive(self, process: Process) -> bool:
        """Whether its Deployment is still what was started, and not all of its pods end again and again."""
        if process.pid:
            return self._here.alive(process)
        try:
            found = self._cluster.workload(process)
            return bool(found and self._cluster.wants(found) and states.is_up(self._pods(process), found))
        except (Silent, Refused):
            return True

    def age(self, process: Process) -> float:
        """By the time of its start, which is a part of what it is known by."""
        return (
            self._here.age(process) if process.pid else max(0.0, time.time() - process.start_time / _SECOND)
        )

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        """The port of its Service leads to nothing else; None while none of its pods is ready."""
        if process.pid:
            return self._here.owned(endpoint, process)
        try:
            return bool(states.ready(self._pods(process))) or None
        except (Silent, Refused):
            return True

    def answering(self, name: str, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those at the nodes that ready pods of it are on."""
        try:
            pods = self._cluster.pods(name)
        except (Silent, Refused):
            return list(filter(_connects, endpoints)) or endpoints
        if not pods:
            return self._here.answering(name, endpoints)
        there = states.nodes(states.ready(pods))
        found = [endpoint for endpoint in endpoints if self._addresses(endpoint) & there]
        # The cluster may know its nodes by addresses that this machine does not reach.
        return found or (list(filter(_connects, endpoints)) if there else [])

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        """Yes: the cluster tells the first process of each container to stop."""
        return self._here.listens(endpoint, process) if process.pid else True

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """It is not to be seen from here."""
        return self._here.listening(process) if process.pid else frozenset()

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """Those of this machine: nothing outlives its pod."""
        return self._here.marked(marks, users, root)

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        """By the label of its root, without which it would not have been found."""
        return self._here.is_elsewhere(process, root) if process.pid else False

    def _pods(self, process: Process) -> list[Pod]:
        return self._cluster.pods_of(process)

    @staticmethod
    def _addresses(endpoint: Endpoint) -> set[str]:
        """The addresses of a node: what its name means, too."""
        found = {endpoint.host}
        with suppress(OSError):
            found |= {str(one[4][0]) for one in socket.getaddrinfo(endpoint.host, None)}
        return found


def _connects(endpoint: Endpoint) -> bool:
    with suppress(OSError), socket.create_connection((endpoint.host, endpoint.port), _CONNECTS_WITHIN):
        return True
    return False
