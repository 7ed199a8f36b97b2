"""What a cluster does with images: its nodes fetch them from a registry, and commands run in pods of their own.

What builds them is an engine of this machine.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError, SourceError
from substitute.core.ports.engine import Image
from substitute.linux.engine import CommandEngine
from substitute.linux.programs import find_program
from substitute.linux.root_names import prefix_of
from substitute.linux.subprocesses import capture
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.api import api_of
from substitute.runtimes.kubernetes.objects import CONTAINER, ROOT, command_name, name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Container
    from substitute.core.ports.engine import Builder

_PATIENCE = 60.0
"""Seconds that a registry may take for an answer."""
_NONE = ("manifest unknown", "name unknown", "not found")
_NOT_FOR_US = ("unauthorized", "denied", "authentication required")
"""What registries say of an image that this login may not see, and many of one that is not there."""
_BUILDERS = ("podman", "docker")
"""What can build images here; the first one needs no daemon."""


def connect(root: Path, settings: str, *, builder: str = "") -> ClusterEngine:
    """Make that of `root`; `settings` is what `Settings.dump` made, and `builder` what `cluster.builder` says."""
    return ClusterEngine(root, Settings.load(settings), builder=builder)


class ClusterEngine:
    """See `core.ports.engine.Engine`. An image is known by its registry and its digest, and kept there.

    The registry is asked by skopeo, which has the logins of podman and docker, and needs neither.
    """

    name = "kubernetes"

    def __init__(self, root: Path, settings: Settings, *, builder: str = "") -> None:
        self._builder = builder
        self._root = root.resolve()
        self._prefix = prefix_of(root)
        self._settings = settings
        self._api = api_of(settings)
        self._held: dict[str, str] = {}

    def builder(self) -> Builder:
        """The engine that is configured, else the one that is here."""
        wanted = (self._builder,) if self._builder else _BUILDERS
        found = next(filter(find_program, wanted), None)
        if found is None:
            raise SourceError(
                f"There is no {' and no '.join(wanted)} here, and so nothing that could build the image.",
                fact="cluster.builder names it." if self._builder else "",
                cure="Install Podman (`apt install podman`) or Docker. Or have images built and pushed elsewhere, and "
                "remove `dockerfile`.",
            )
        return CommandEngine(found, self._root)

    def pulling(self, reference: str) -> Sequence[str]:
        """Only its digest is asked for: the nodes fetch it."""
        return ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{reference}"]

    def end_builds(self, app: str) -> None:
        """By each engine that may be its builder, or was."""
        for name in _BUILDERS:
            CommandEngine(name, self._root).end_builds(app)

    def name_of(self, app: str, tag: str) -> str:
        """A name of this process alone: the registry has its own."""
        return f"{self._prefix}/{app}:{tag}"

    def hold(self, image: str, app: str, tag: str) -> None:
        """Keep in mind what the name stands for: nobody but the registry keeps images."""
        self._held[self.name_of(app, tag)] = image

    def held(self, app: str) -> Mapping[str, str]:  # noqa: ARG002
        """None: the registry has its own rules."""
        return {}

    def let_go(self, name: str) -> bool:
        """There is nothing to let go of."""
        self._held.pop(name, None)
        return True

    def find(self, reference: str) -> Image | None:
        """What its registry has by that name, and shows us; what has a digest already is not asked for.

        Raises RuntimeFailedError.
        """
        if reference.startswith(f"{self._prefix}/"):
            held = self._held.get(reference)
            return Image(held, held) if held else None
        if "@" in reference:
            return Image(reference, reference)
        told = self._ask(self.pulling(reference), absent=(*_NONE, *_NOT_FOR_US))
        if told is None:
            return None
        repository = reference.rpartition(":")[0] if ":" in reference.rpartition("/")[2] else reference
        identity = f"{repository}@{told.strip()}"
        return Image(identity, identity)

    def directory_of(self, image: str) -> str:
        """Where the programs of an image start, by its registry. Raises RuntimeFailedError."""
        told = self._ask(["skopeo", "inspect", "--config", f"docker://{image}"])
        if told is None:
            raise RuntimeFailedError(
                f"The registry has no image {image} any more, so where what is shared belongs is not known."
            )
        return str((json.loads(told).get("config") or {}).get("WorkingDir") or "/")

    def load(self, archive: Path) -> Image:
        """No cluster takes a file."""
        raise SourceError(
            f"A cluster does not take {archive}: its nodes fetch images from a registry.",
            cure="Push it there (`skopeo copy`), and deploy its tag.",
        )

    def running(
        self,
        argv: Sequence[str],
        container: Container,
        *,
        name: str,
        variables: Collection[str],
        terminal: bool = False,
    ) -> Sequence[str]:
        """In a pod of its own, which a program of ours makes, follows and removes. It has no input."""
        del terminal
        told = {
            "settings": self._settings.dump(),
            "root": str(self._root),
            "name": name,
            "image": container.image,
            "mounts": [[str(one.source), str(one.target)] for one in container.mounts],
            "memory": container.limits.memory,
            "cpu": container.limits.cpu,
            "variables": list(variables),
        }
        program = [sys.executable, "-P", "-m", "substitute.runtimes.kubernetes.command"]
        return [*program, json.dumps(told), *argv]

    def entering(self, argv: Sequence[str], instance: str) -> Sequence[str]:
        """By `kubectl exec`."""
        settings = self._settings
        context = [f"--context={settings.context}"] if settings.context else []
        place = [f"--kubeconfig={settings.kubeconfig}", *context, f"--namespace={self._api.namespace}"]
        return [
            "kubectl",
            "exec",
            *place,
            f"deployment/{name_of(instance)}",
            f"--container={CONTAINER}",
            "--",
            *argv,
        ]

    def image_of(self, instance: str) -> str:
        """By its Deployment."""
        with suppress(RuntimeFailedError):
            found = self._api.get("Deployment", name_of(instance))
            if found and (found["metadata"].get("labels") or {}).get(ROOT) == self._prefix:
                return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
        return ""

    def end(self, name: str) -> None:
        """Remove its pod at once, and what that was given."""
        with suppress(RuntimeFailedError):
            pod = command_name(name, self._prefix)
            self._api.delete("Pod", pod, grace=0)
            self._api.delete("Secret", pod)

    def _ask(self, argv: Sequence[str], absent: Sequence[str] = _NONE) -> str | None:
        """What skopeo says; None where the registry says one of `absent`. Raises RuntimeFailedError."""
        try:
            told = capture(argv, timeout=_PATIENCE)
        except OSError as error:
            raise RuntimeFailedError(
                f"skopeo cannot be run: {error.strerror}.",
                fact="It asks registries for the digests of tags.",
                cure="Install it: `apt install skopeo`.",
            ) from error
        if told.status == 0:
            return told.out
        if any(said in told.err.lower() for said in absent):
            return None
        raise RuntimeFailedError(
            "The registry does not answer.",
            fact=told.err.strip(),
            cure=f"When `{shlex.join(argv)}` does, type the command again.",
        )
