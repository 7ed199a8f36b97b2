"""Kubernetes, through its API: a Deployment for each instance, which the cluster keeps running on any of its nodes.

A slot's Deployment is replaced as a whole while its other slot serves, and never rolled. Its Service has a port of its
own on every node, for good: so the balancer lists them once, and only weights move.

Every other program is kept by another runtime, on this machine: HAProxy, the scheduler, and what has no image.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import RemainsError, RuntimeFailedError
from substitute.core.model.programs import SIGTERM, Inspection, Process, Stopped
from substitute.core.polling import wait_until, wait_while
from substitute.linux.root_names import prefix_of
from substitute.runtimes.containers import BesideBase, follow_both
from substitute.runtimes.kubernetes import pods as states
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.api import api_of
from substitute.runtimes.kubernetes.failures import Refused, Silent
from substitute.runtimes.kubernetes.logs import BEGINNING, Written, last, now
from substitute.runtimes.kubernetes.objects import (
    NAME,
    ROOT,
    STARTED,
    deployment,
    labels,
    name_of,
    secret,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.core.model.programs import Container, Program
    from substitute.core.ports.runtime import Log, Runtime
    from substitute.runtimes.kubernetes.pods import Pod

_IN_A_SLOT = re.compile(r"[^_]+_[ab](_.+)?")
"""What an instance of a slot is called."""
_SHORTLY = 0.1
"""Seconds between two looks at the cluster. Its own parts tell each other within some hundredths."""
_PULLING = 600.0
"""Seconds that a node may take to fetch an image."""
_GONE = 15.0
"""Seconds that a pod may take to be gone after it was killed. Longer takes only one whose node is gone."""
_NOTICED = 1.0
"""Seconds that it takes at most until the API server knows that a pod has ended."""


def connect(base: Runtime, root: Path, *, in_unit: bool, settings: str) -> Kubernetes:
    """Make the runtime of `root`; `settings` is what `Settings.dump` made."""
    del in_unit
    return Kubernetes(base, root, Settings.load(settings))


class Kubernetes(BesideBase):
    """See `core.ports.runtime.Runtime`. What runs is known by the uid of its Deployment, and by when it was started."""

    def __init__(self, base: Runtime, root: Path, settings: Settings) -> None:
        """`base` keeps what has no container."""
        super().__init__(base)
        self._root = root.resolve()
        self._prefix = prefix_of(root)
        self._settings = settings
        self._api = api_of(settings)

    # -- what is there --------------------------------------------------------------------------

    def workload(self, process: Process) -> dict[str, Any] | None:
        """The Deployment that is still what was started as `process`. Raises as the API does."""
        found = (one for one in self._deployments() if _process(one) == process)
        return next(found, None)

    @staticmethod
    def wants(workload: Mapping[str, Any]) -> int:
        """How many pods a Deployment is to have."""
        return _wanted(workload)

    def pods_of(self, process: Process) -> list[Pod]:
        """Those of one start. Raises as the API does."""
        return self._api.list("Pod", {ROOT: self._prefix, STARTED: str(process.start_time)})

    def pods(self, name: str) -> list[Pod]:
        """Those of an instance, from each of its starts. Raises as the API does."""
        return self._api.list("Pod", labels(self._prefix, name))

    def _deployments(self) -> list[dict[str, Any]]:
        return self._api.list("Deployment", {ROOT: self._prefix})

    def _find(self, name: str) -> dict[str, Any] | None:
        """Its Deployment, where it is one of this root. Raises as the API does."""
        if not _IN_A_SLOT.fullmatch(
            name
        ):  # HAProxy, the scheduler, a guest: they need no cluster to be told about
            return None
        try:
            found = self._api.get("Deployment", name_of(name))
        except Silent:
            if self._base.inspect(name).wanted:
                return None
            raise
        return found if found and self.is_ours(found) and _called(found) == name else None

    def is_ours(self, found: Mapping[str, Any]) -> bool:
        """Whether an object of the cluster is one of this root."""
        return (found["metadata"].get("labels") or {}).get(ROOT) == self._prefix

    # -- core.ports.runtime.Runtime -------------------------------------------------------------

    def start(self, program: Program) -> Process:
        """Apply its objects, and wait until the container of each pod has begun, or one cannot."""
        if program.container is None:
            return self._base.start(program)
        self._require_ours(program.name)
        if self.inspect(program.name).process:
            raise RuntimeFailedError(f"{program.name} runs already.")
        self.stop(program.name, None, timeout=0.0)  # what ends again and again
        process = self._apply(program, program.container)
        try:
            self._await_begun(program.name, process)
        except BaseException:
            with suppress(RuntimeFailedError):  # then whoever settles does
                self.terminate(program.name, process)
            raise
        return process

    def inspect(self, name: str) -> Inspection:
        """Ask the API server. Raises Silent."""
        found = self._find(name)
        if found is None:
            return self._base.inspect(name)
        wanted = _wanted(found)
        pods = self._of_this_start(name, found)
        ready = len(states.ready(pods))
        return Inspection(
            _process(found) if wanted and states.is_up(pods, found) else None,
            exit=states.ending(pods),
            wanted=bool(wanted),
            ready=ready >= wanted and _is_observed(found),
            awaited=_awaited(ready, wanted, pods, found),
            restarts=states.restarts(pods),
        )

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Scale it to none: each pod gets its stop signal, and its time. One whose node is gone is given up."""
        if self._find(name) is None:
            return self._base.stop(name, process, timeout=timeout, signal=signal)
        began = time.monotonic()
        self._scale_to_none(name)
        left = wait_while(self._left(name), timeout + _NOTICED, _SHORTLY)
        for grace in (1, 0):  # the last one gives up what a node that is gone would have to end
            if not left:
                break
            for pod in left:
                self._api.delete("Pod", pod["metadata"]["name"], grace=grace)
            left = wait_while(self._left(name), _GONE, _SHORTLY)
        if left:
            raise RuntimeFailedError(
                f"{name} cannot be ended.",
                fact=f"The pod {left[0]['metadata']['name']} is still there.",
                cure=f"See `kubectl describe pod --namespace {self._api.namespace} {left[0]['metadata']['name']}`.",
            )
        seconds = time.monotonic() - began
        return Stopped(killed=seconds - _NOTICED > timeout > 0, seconds=seconds)

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Scale it to none."""
        if self._find(name) is None:
            self._base.terminate(name, process, signal=signal)
        else:
            self._scale_to_none(name)

    def freeze(self, name: str) -> None:
        """No cluster can."""
        if self._find(name) is None:
            self._base.freeze(name)
        else:
            raise RuntimeFailedError(f"{name} cannot be frozen: no cluster stops its pods' processors.")

    def thaw(self, name: str) -> None:
        """Nothing of a cluster is ever frozen."""
        with suppress(Silent):
            if self._find(name) is None:
                self._base.thaw(name)

    def trace(self, name: str) -> Process | None:
        """By its Deployment, which lasts as long as anything of it may run. It leaves no other trace."""
        with suppress(Silent, Refused):
            if self._find(name):
                return self.inspect(name).process
        return self._base.trace(name)

    def kept(self) -> set[str]:
        """By the label of the root, and what the other runtime keeps. Raises Silent."""
        return {_called(one) for one in self._deployments() if _wanted(one)} | self._base.kept()

    def log(self, name: str, file: Path) -> Log:
        """By the API, where the name has pods by the time that it is read."""
        since = now()
        with suppress(Silent, Refused):
            if not self.pods(name):  # it is about to be started, on nodes whose clocks may be behind
                since = BEGINNING
        return _Either(Written(self._api, lambda: self.pods(name), since), self._base.log(name, file))

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """By the API. What pods wrote that are gone, no cluster keeps by itself."""
        if self._find(name) is None:
            return self._base.last_lines(name, file, count)
        return last(self._api, self.pods(name), count)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Both runtimes: a name may go from one to the other meanwhile."""
        begin = now()
        follow_both(
            self._base,
            logs,
            on_line,
            inside=[name for name in logs if self._find(name)],
            last=lambda name: self.last_lines(name, *logs[name]),
            written={name: Written(self._api, partial(self.pods, name), begin) for name in logs},
        )

    def shutdown(self) -> None:
        """Remove what is left of this root in the cluster, and with it the ports of its slots."""
        try:
            for one in self._deployments():
                if not _wanted(one):
                    self._remove(one["metadata"]["name"])
        except (Silent, Refused) as error:
            place = f"--namespace {self._settings.namespace} " if self._settings.namespace else ""
            raise RemainsError(
                "What the slots had in the cluster may be left there, and their ports with it.",
                fact=error.reason,
                cure="When that is mended, type `substitute down` again. Where no other edge leads there, `kubectl "
                f"{place}delete services,secrets,deployments --selector {ROOT}={self._prefix}` does the same.",
            ) from error
        finally:
            self._base.shutdown()

    # -- deeds ----------------------------------------------------------------------------------

    def _require_ours(self, name: str) -> None:
        """Raise RuntimeFailedError where anything of that name is somebody else's."""
        for kind in ("Deployment", "Service", "Secret"):
            found = self._api.get(kind, name_of(name))
            if found and self.is_ours(found):
                continue
            if found and self._has_left(found):
                self._api.delete(kind, name_of(name))  # its pods' labels cannot be changed
            elif found:
                place = (found["metadata"].get("annotations") or {}).get(ROOT)
                whose = f"It is that of {place}." if place else "substitute has not made it."
                raise RuntimeFailedError(
                    f"There is a {kind} {name_of(name)} in the namespace {self._api.namespace} already.",
                    fact=whose,
                    cure="Give this root a namespace of its own: cluster.namespace.",
                )

    def _has_left(self, found: Mapping[str, Any]) -> bool:
        """Whether it was this root's while that lay elsewhere, and nothing of it is to run any more."""
        former = self._base
        if not isinstance(former, Kubernetes) or not former.is_ours(found):
            return False
        return not found.get("spec", {}).get("replicas")

    def _apply(self, program: Program, container: Container) -> Process:
        started = str(time.time_ns())
        body = deployment(
            program,
            container,
            prefix=self._prefix,
            root=self._root,
            started=started,
            claim=self._settings.claim,
        )
        if container.mounts:
            self._require_claim()
        try:
            self._api.apply(secret(program.name, self._prefix, program.environment))
            if container.published:
                self._api.apply(service(program, container, self._prefix))
            return _process(self._api.apply(body))
        except Refused as refused:
            raise RuntimeFailedError(
                f"{program.name} cannot be started.", fact=refused.fact, cure=refused.cure
            ) from refused

    def _require_claim(self) -> None:
        claim = self._settings.claim
        found = self._api.get("PersistentVolumeClaim", claim)
        if found is None:
            raise RuntimeFailedError(
                f"There is no PersistentVolumeClaim {claim} in the namespace {self._api.namespace}.",
                cure="Make it, or name another one: cluster.claim.",
            )
        modes = found["spec"].get("accessModes") or []
        if "ReadWriteMany" not in modes:
            raise RuntimeFailedError(
                f"The PersistentVolumeClaim {claim} cannot be shared.",
                fact=f"It offers {', '.join(modes) or 'nothing'}; pods of both slots, on several nodes, need "
                "ReadWriteMany.",
                cure="Make one of a class that offers it (NFS, CephFS, …).",
            )

    def _await_begun(self, name: str, process: Process) -> None:
        """Return when all pods of `process` have begun. Raises RuntimeFailedError where one can't, in words.

        How long a node takes for its image is no matter of the app's: its time to get ready begins then.
        """
        began, obstacles = time.monotonic(), states.Obstacles()

        def begun() -> bool:
            try:
                found = self._find(name)
            except Silent:  # for a moment, perhaps
                return False
            if found is None or _process(found) != process:
                raise RuntimeFailedError(f"{name} was removed from the cluster while it started.")
            pods = self._of_this_start(name, found)
            if len(pods) >= _wanted(found) and all(map(states.has_begun, pods)):
                return True
            waits = states.unscheduled(pods) if time.monotonic() - began > states.PLACING else ""
            why = states.obstacle(pods, found.get("status", {}).get("conditions") or ())
            if why := obstacles.lasting(why, time.monotonic()) or waits:
                cure = states.cure(why)
                raise RuntimeFailedError(f"{name} cannot be started by the cluster.", fact=why, cure=cure)
            return False

        if not wait_until(begun, _PULLING, _SHORTLY):
            raise RuntimeFailedError(
                f"{name} was not started by the cluster within {_PULLING:g}s.",
                cure=f"See `kubectl describe pods --namespace {self._api.namespace}`.",
            )

    def _of_this_start(self, name: str, found: Mapping[str, Any]) -> list[Pod]:
        started = found["metadata"]["labels"].get(STARTED)
        return [pod for pod in self.pods(name) if pod["metadata"]["labels"].get(STARTED) == started]

    def _left(self, name: str) -> Callable[[], list[Pod]]:
        """What tells the pods that are left; those that were there last, while the API server is silent."""
        seen = self.pods(name)

        def look() -> list[Pod]:
            with suppress(Silent):
                seen[:] = self.pods(name)
            return seen

        return look

    def _scale_to_none(self, name: str) -> None:
        self._api.merge("Deployment", name_of(name), {"spec": {"replicas": 0}})

    def _remove(self, name: str) -> None:
        for kind in ("Service", "Secret", "Deployment"):  # the last is what the others are found by
            self._api.delete(kind, name)


class _Either:
    """The lines of pods, and of the program that the other runtime starts: that none are seen may be silence."""

    def __init__(self, pods: Written, plain: Log) -> None:
        self._pods = pods
        self._plain = plain

    def lines(self, *, ended: bool = False) -> list[str]:
        return [*self._pods.lines(ended=ended), *self._plain.lines(ended=ended)]


def _process(found: Mapping[str, Any]) -> Process:
    """What is started once, whichever pods come and go."""
    started = int(found["metadata"]["labels"].get(STARTED, 0))
    return Process(0, started, found["metadata"]["uid"])


def _wanted(found: Mapping[str, Any]) -> int:
    replicas: int = found["spec"].get("replicas", 1)
    return replicas


def _is_observed(found: Mapping[str, Any]) -> bool:
    """Whether the cluster has seen what it was last told."""
    seen: int = found.get("status", {}).get("observedGeneration", 0)
    return seen >= int(found["metadata"]["generation"])


def _called(found: Mapping[str, Any]) -> str:
    """What this root calls it: the annotations have it, for names of a cluster have no underscore."""
    about = found["metadata"].get("annotations") or {}
    return str(about.get(NAME) or found["metadata"]["name"])


def _awaited(ready: int, wanted: int, pods: list[Pod], found: Mapping[str, Any]) -> str:
    why = states.obstacle(pods, found.get("status", {}).get("conditions") or ()) or states.unscheduled(pods)
    told = f"{ready} of {wanted} pods are ready" if wanted > 1 else "the cluster does not call its pod ready"
    return f"{told}: {why}" if why else told
