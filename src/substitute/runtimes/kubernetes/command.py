"""The program that runs a command in a pod of its own: it makes the pod, passes its output on, and ends as it does.

``python -m substitute.runtimes.kubernetes.command SPECIFICATION COMMAND…``; the specification is JSON, and holds no
value of a variable: those are in this program's own environment, since others see its arguments.

A pod that is never started again, and no Job: a Job makes another one where a node was lost, and nobody knows then how
far a migration had come.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Container, Limits, Mount
from substitute.linux.root_names import prefix_of
from substitute.runtimes.kubernetes import objects, pods
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.api import api_of
from substitute.runtimes.kubernetes.failures import Refused, Silent
from substitute.runtimes.kubernetes.logs import BEGINNING, Written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from substitute.runtimes.kubernetes.api import Api

_PAUSE = 0.2
_GRACE = 30
"""Seconds from the stop signal on, which is what a cluster gives by default."""
_CANNOT = 126
"""The exit status of what cannot be run, as in a shell."""
_EXISTS, _MAY_NOT = 409, (401, 403)
_SIGNALLED = 128


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit status of the command."""
    told, argv = json.loads(arguments[0]), list(arguments[1:])
    settings, root = Settings.load(told["settings"]), Path(told["root"])
    container = Container(
        told["image"], tuple(Mount(Path(source), Path(target)) for source, target in told["mounts"])
    )
    command = _Command(api_of(settings), settings, root, told["name"], Limits(**told["limits"]))
    signal.signal(signal.SIGTERM, command.stop)
    signal.signal(signal.SIGINT, command.stop)
    environment = {name: os.environ[name] for name in told["variables"] if name in os.environ}
    try:
        return command.run(argv, container, environment)
    except RuntimeFailedError as error:
        sys.stderr.write(f"{error}\n")
        return _CANNOT


class _Command:
    """One command in its pod."""

    def __init__(self, api: Api, settings: Settings, root: Path, name: str, limits: Limits) -> None:
        self._api, self._settings, self._root, self._name = api, settings, root, name
        self._limits = limits
        self._signal = 0
        self._is_told = False
        self._is_anothers = False
        """Whether the pod of that name is not this command's."""

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The signal that this program got: the pod gets its own, at the next look."""
        del frame
        self._signal = number

    def run(self, argv: Sequence[str], container: Container, environment: dict[str, str]) -> int:
        """Make it, follow it to its end, and remove it. Raises RuntimeFailedError."""
        prefix = prefix_of(self._root)
        name = objects.command_name(self._name, prefix)
        pod = self._pod(argv, container, prefix)
        try:
            self._api.apply(objects.secret(name, prefix, environment))
            self._create(pod)
            return self._follow(name)
        finally:
            self._remove(name)

    def _create(self, pod: dict[str, Any]) -> None:
        """Make it; where a first try was not answered, it may be there already."""
        try:
            self._api.create(pod)
        except Refused as refused:
            found = self._api.get("Pod", pod["metadata"]["name"]) if refused.status == _EXISTS else None
            if found is None or found["metadata"]["labels"] != pod["metadata"]["labels"]:
                self._is_anothers = found is not None
                raise

    def _remove(self, name: str) -> None:
        """Remove both, unless they are another command's. How the command ended stays what it was."""
        if self._is_anothers:
            return
        try:
            self._api.delete("Pod", name, grace=0)
            self._api.delete("Secret", name)
        except RuntimeFailedError as error:
            sys.stderr.write(
                f"Its pod and its Secret may be left in the cluster. {error.reason} "
                f"`kubectl --namespace {self._api.namespace} delete pod/{name} secret/{name}` removes them.\n"
            )

    def _pod(self, argv: Sequence[str], container: Container, prefix: str) -> dict[str, Any]:
        own = {**objects.labels(prefix, self._name), objects.STARTED: str(time.time_ns())}
        name = objects.command_name(self._name, prefix)
        its: dict[str, Any] = {
            "name": objects.CONTAINER,
            "image": container.image,
            "imagePullPolicy": "IfNotPresent",
            "command": argv[:1],
            "args": argv[1:],
            "envFrom": [{"secretRef": {"name": name}}],
            "securityContext": {"allowPrivilegeEscalation": False},
            **objects.limits(self._limits),
        }
        if places := objects.mounts(container, self._root):
            its["volumeMounts"] = places
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": own},
            "spec": {
                **objects.pod_spec(container, claim=self._settings.claim, grace=_GRACE),
                "restartPolicy": "Never",
                "containers": [its],
            },
        }

    def _follow(self, name: str) -> int:
        """Pass its output on until it has ended."""
        seen: list[pods.Pod] = []
        obstacles = pods.Obstacles()
        written = Written(self._api, lambda: seen, BEGINNING)
        began = time.monotonic()
        while True:
            try:
                found = self._api.get("Pod", name)
                status = pods.exit_status(found) if found else None
                if self._signal and not self._is_told and status is None:
                    self._api.delete("Pod", name, grace=_GRACE)
                    self._is_told = True
            except (Silent, Refused) as error:
                if self._signal:
                    return _SIGNALLED + self._signal
                if isinstance(error, Refused) and error.status in _MAY_NOT:
                    raise
                time.sleep(_PAUSE)  # it goes on without who asks
                continue
            if found is None:
                sys.stderr.write("Its pod was removed.\n")
                return _SIGNALLED + (self._signal or signal.SIGKILL)
            seen[:] = [found]
            for line in written.lines(ended=status is not None):
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            if status is not None:
                return _SIGNALLED + self._signal if self._signal else status
            waits = pods.unscheduled([found]) if time.monotonic() - began > pods.PLACING else ""
            if why := obstacles.lasting(pods.obstacle([found], ()), time.monotonic()) or waits:
                raise RuntimeFailedError("The cluster cannot run it.", fact=why, cure=pods.cure(why))
            time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
