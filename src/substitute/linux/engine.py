"""The commands of `podman` and `docker`: the port `Engine` for images and commands in containers of their own."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from substitute.core.model.errors import RuntimeFailedError, SourceError
from substitute.core.ports.engine import Image
from substitute.linux import processes
from substitute.linux.root_names import prefix_of
from substitute.linux.subprocesses import capture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from substitute.core.model.programs import Container, Limits, Mount
    from substitute.linux.subprocesses import Captured

_PATIENCE = 60.0
"""Seconds that the engine may take for an answer."""
_LOADING = 1800.0
"""Seconds that reading an archive may take."""
_ID = "sha256:"
_NONE = ("no such image", "no such object", "not known")
"""What is said of an image that is not there. Of a socket that is not, it is "no such file"."""
_LOADED = ("Loaded image: ", "Loaded image(s): ", "Loaded image ID: ")


class CommandEngine:
    """See `core.ports.engine.Builder`. What both understand alike."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._found: dict[str, Image] = {}
        """Those that were asked for by their ids, of which each is the same for ever."""
        self._prefix = prefix_of(root)

    def builder(self) -> Self:
        """It builds what it runs."""
        return self

    def pulling(self, reference: str) -> Sequence[str]:
        """With the login of `podman login` or `docker login`."""
        return [self.name, "pull", reference]

    def pushing(self, name: str) -> Sequence[str]:
        """With that login, too."""
        return [self.name, "push", name]

    def building(
        self,
        app: str,
        directory: Path,
        file: Path,
        id_file: Path,
        *,
        arguments: Mapping[str, str],
        secrets: Sequence[str],
    ) -> Sequence[str]:
        """Both have the same words for it. With Podman of root, children get a control group of a known name."""
        grouped = self.name == "podman" and os.geteuid() == 0
        inside = [f"--cgroup-parent=/{self._builds(app)}"] if grouped else []
        engine = [self.name, *(["--cgroup-manager=cgroupfs"] if inside else [])]
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        shown = [f"--secret=id={name},env={name}" for name in secrets]
        return [
            *engine,
            *("build", "--file", str(file), "--iidfile", str(id_file)),
            *inside,
            *given,
            *shown,
            str(directory),
        ]

    def end_builds(self, app: str) -> None:
        """By that group: a killed `podman build` leaves its commands, and its container. dockerd ends what is left."""
        if self.name != "podman":
            return
        for pid in processes.every():
            with suppress(OSError):
                groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
                process = processes.identify(pid) if f":/{self._builds(app)}" in groups else None
                if process:
                    processes.signal_process(process, signal.SIGKILL)
        with suppress(RuntimeFailedError):
            for container in self._unfinished(app):
                self._ask("rm", "--force", container)

    def _unfinished(self, app: str) -> Iterator[str]:
        """The containers that builds of `app` have left. Podman's commands do not tell whose they are, its notes do."""
        place = self._ask("info", "--format", "{{.Store.GraphRoot}}/{{.Store.GraphDriverName}}-containers")
        for note in Path(place.out.strip()).glob("*/userdata/buildah.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                built = json.loads(note.read_text(encoding="utf-8"))
                if built["CommonBuildOpts"]["CgroupParent"] == f"/{self._builds(app)}":
                    yield note.parent.parent.name

    def _builds(self, app: str) -> str:
        return f"{self._prefix}-{app}-build"

    def name_of(self, app: str, tag: str) -> str:
        """On ``localhost``, where no registry is looked for."""
        return f"localhost/{self._prefix}/{app}:{tag}"

    def hold(self, image: str, app: str, tag: str) -> None:
        """By such a name."""
        self.give_name(image, self.name_of(app, tag))

    def give_name(self, image: str, name: str) -> None:
        """By `tag`."""
        told = self._ask("tag", image, name)
        if told.status:
            raise self._failed(f"{self.name} does not keep the image {image}.", told)

    def held(self, app: str) -> Mapping[str, str]:
        """By the list of its images."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        told = self._ask("image", "ls", "--no-trunc", "--format", form, self.name_of(app, "*"))
        if told.status:
            raise self._failed(f"{self.name} does not tell what it has.", told)
        found = (line.split() for line in told.out.splitlines())
        return {name: f"sha256:{identity.removeprefix('sha256:')}" for name, identity in found}

    def let_go(self, name: str) -> bool:
        """By `image rm`, which takes away the name alone while there are others."""
        return self._ask("image", "rm", name).status == 0

    def find(self, reference: str) -> Image | None:
        """By its description."""
        if reference in self._found:
            return self._found[reference]
        told = self._ask("image", "inspect", reference)
        if told.status:
            if any(said in told.err.lower() for said in _NONE):
                return None
            raise self._failed(f"{self.name} does not tell what it has.", told)
        (found,) = json.loads(told.out)
        digests = found.get("RepoDigests") or []
        wanted = [one for one in digests if one.partition("@")[0] == _repository(reference)] or digests
        identity = found["Id"].removeprefix("sha256:")
        directory = (found.get("Config") or {}).get("WorkingDir") or "/"
        image = Image(f"sha256:{identity}", next(iter(wanted), ""), tuple(wanted), directory)
        if reference == image.id:
            self._found[reference] = image
        return image

    def directory_of(self, image: str) -> str:
        """By its description."""
        found = self.find(image)
        return found.directory if found else "/"

    def load(self, archive: Path) -> tuple[Image, Sequence[str]]:
        """By what it says that it has loaded."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        before = self._ask("image", "ls", "--no-trunc", "--format", form).out.split()
        told = self._ask("load", "--input", str(archive), limit=_LOADING)
        names = [
            name.strip()
            for line in told.out.splitlines()
            for said in _LOADED
            if line.startswith(said)
            for name in line.removeprefix(said).split(",")
        ]
        came = [name for name in names if name not in before]
        images = {} if told.status else {found.id: found for found in map(self.find, names) if found}
        if len(images) > 1:
            for name in came:
                self.let_go(name)
            raise SourceError(
                f"{archive} holds {len(images)} images: {', '.join(names)}.",
                cure=f"Save the one that is to be deployed: `{self.name} save --output FILE {names[0]}`.",
            )
        if not images:
            raise SourceError(
                f"{archive} is no image that {self.name} can load.",
                fact=told.err.strip() or told.out.strip(),
                cure=f"Make it by `{self.name} save`.",
            )
        return next(iter(images.values())), [name for name in came if not name.startswith(_ID)]

    def running(
        self,
        argv: Sequence[str],
        container: Container,
        *,
        name: str,
        variables: Collection[str],
        limits: Limits,
        terminal: bool = False,
    ) -> Sequence[str]:
        """In the foreground, removed at its end. An entrypoint of the image is not asked."""
        mounts = [f"--mount={_mount(mount)}" for mount in container.mounts]
        return [
            *(self.name, "run", "--rm", "--interactive", *(["--tty"] if terminal else [])),
            *(f"--name={self._prefix}-{name}", "--network=host", *mounts, *_limits(limits)),
            *(f"--env={variable}" for variable in variables),
            *(f"--entrypoint={argv[0]}", container.image, *argv[1:]),
        ]

    def entering(self, argv: Sequence[str], instance: str) -> Sequence[str]:
        """By `exec`."""
        return [self.name, "exec", f"{self._prefix}-{instance}", *argv]

    def image_of(self, instance: str) -> str:
        """By the description of its container."""
        with suppress(RuntimeFailedError):
            told = self._ask("container", "inspect", "--format", "{{.Image}}", f"{self._prefix}-{instance}")
            if not told.status:
                return f"sha256:{told.out.strip().removeprefix('sha256:')}"
        return ""

    def end(self, name: str) -> None:
        """By force: its client had the time to pass a signal on."""
        with suppress(RuntimeFailedError):
            self._ask("rm", "--force", f"{self._prefix}-{name}")

    def _failed(self, what: str, told: Captured) -> RuntimeFailedError:
        said = told.err.lower()
        cure = f"When `{self.name} image ls` works, type the command again."
        if "daemon" in said and "running" in said:
            cure = "Start it: `systemctl start docker`."
        elif "no space left" in said:
            cure = f"Make room: `{self.name} system df` shows what images and builds take."
        return RuntimeFailedError(what, fact=told.err.strip(), cure=cure)

    def _ask(self, *argv: str, limit: float = _PATIENCE) -> Captured:
        try:
            told = capture([self.name, *argv], timeout=limit)
        except OSError as error:
            raise RuntimeFailedError(
                f"{self.name} cannot be run: {error.strerror}.",
                cure=f"Install it: `apt install {self.name}`.",
            ) from error
        if told.timed_out:
            raise RuntimeFailedError(f"{self.name} does not answer within {limit:g}s.")
        return told


def _mount(mount: Mount) -> str:
    """As a line of CSV, whose words may have a comma; what is not there is refused, and not made."""
    words = ("type=bind", f"source={mount.source}", f"target={mount.target}")
    quoted = ('"' + word.replace('"', '""') + '"' if set(word) & {",", '"'} else word for word in words)
    return ",".join(quoted)


def _limits(limits: Limits) -> Iterator[str]:
    """Both have the same words for them. What is swapped is memory too: so none is."""
    if limits.memory is not None:
        yield from (f"--memory={limits.memory}", f"--memory-swap={limits.memory}")
    if limits.cpu is not None:
        yield f"--cpus={limits.cpu}"
    if limits.tasks is not None:
        yield f"--pids-limit={limits.tasks}"
    if limits.nofile is not None:
        yield f"--ulimit=nofile={limits.nofile}:{limits.nofile}"


def _repository(reference: str) -> str:
    """Its name without tag or digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
