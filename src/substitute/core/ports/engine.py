"""What runs containers: its images, and commands in containers of their own; and what builds images for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Container, Limits


@dataclass(frozen=True)
class Image:
    """An image that the engine has."""

    id: str
    """``sha256:…``, of its content."""
    digest: str = ""
    """By which its registry gives exactly this one, as ``registry.example.com/shop@sha256:…``; empty: it was built or
    loaded here."""
    digests: tuple[str, ...] = ()
    """All such: that of a list of images for several machines, and that of the one for this machine."""
    directory: str = "/"
    """Where its programs start."""


class Engine(Protocol):
    """Podman or Docker of this machine, or a cluster.

    An image is held by a name of substitute's own, which lasts as long as a version needs it. So what there is to
    remove, the engine itself tells, and what others have named stays.

    What takes its time is an argument list, which is run as the commands of a build are: its output is shown, Ctrl-C
    ends it, and who kills the deployer finds it in the journal.
    """

    @property
    def name(self) -> str:
        """``podman`` or ``docker``, whose command has that name, or ``kubernetes``."""

    def builder(self) -> Builder:
        """What builds images for it on this machine: it may be itself. Raises SourceError where there is none."""

    def pulling(self, reference: str) -> Sequence[str]:
        """What fetches an image from its registry, with the login that its user has there."""

    def end_builds(self, app: str) -> None:
        """End what is left of builds of `app`, where the program that ran them was killed. Never raises."""

    def name_of(self, app: str, tag: str) -> str:
        """What an image is called that is held for `app`: no other root has that name."""

    def hold(self, image: str, app: str, tag: str) -> None:
        """Give an image such a name. Raises RuntimeFailedError."""

    def held(self, app: str) -> Mapping[str, str]:
        """The names of all that is held for `app`, each with the id of its image. Raises RuntimeFailedError."""

    def let_go(self, name: str) -> bool:
        """Take a name away, and with the last one the image; False where a container needs that yet."""

    def find(self, reference: str) -> Image | None:
        """An image that it has, by its name, id or digest. Raises RuntimeFailedError where it does not answer."""

    def directory_of(self, image: str) -> str:
        """Where the programs of an image start, by its id. Raises RuntimeFailedError."""

    def load(self, archive: Path) -> tuple[Image, Sequence[str]]:
        """Take in the one image of an archive of `docker save` or `podman save`; and the names that came with it.

        Not those that were here before. Raises SourceError, also where there are several images in it.
        """

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
        """What runs `argv` in a container of its own, called `name` in this root, with its input and output.

        `limits` hold for the container, as far as the engine has them. The values of `variables` are those that the
        program of this list has: other users see its arguments. It ends with the status of `argv`, and passes signals
        on.
        """

    def entering(self, argv: Sequence[str], instance: str) -> Sequence[str]:
        """What runs `argv` in the container of a running instance."""

    def image_of(self, instance: str) -> str:
        """The id of the image of an instance's container; empty where there is none. Never raises."""

    def end(self, name: str) -> None:
        """End the container of a command that was called `name`, if it is there. Never raises."""


class Builder(Engine, Protocol):
    """Podman or Docker of this machine, whether it runs what it builds or brings it to a registry."""

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
        """What builds an image of `directory` by the Dockerfile `file`, and writes its id into `id_file`.

        The values of `secrets`, which its steps may read, are those that the program of this list has.
        """

    def give_name(self, image: str, name: str) -> None:
        """Have an image be called `name`, beside the names that it has. Raises RuntimeFailedError."""

    def pushing(self, name: str) -> Sequence[str]:
        """What brings the image of that name to the registry in it, with the login that its user has there."""
