"""Sites whose versions are images. Another engine joins by a line in ENGINES, and a fixture of its name."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from substitute.io.digest import sha256
from tests.e2e.site import Site
from tests.images import PYTHON, write_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENGINES = [pytest.param("docker"), pytest.param("podman")]
BASE = "localhost/python:test"
COMMAND = f'["{PYTHON}", "-S", "-E", "app.py"]'
DOCKERFILE = f"FROM {BASE}\nCOPY app.py version.txt /app/\nCMD {COMMAND}\n"


class Engine(Protocol):
    """One that runs; called with the arguments of its command, it returns what that says."""

    def __call__(self, *arguments: str, **more: Any) -> str: ...


def fill(engine: Engine) -> None:
    """Have the image that those of the tests are made from."""
    if engine("image", "ls", "--quiet", BASE):
        return
    tar = io.BytesIO()
    write_python(tar)
    engine("import", "--change", "WORKDIR /app", "-", BASE, input=tar.getvalue())


class ContainerSite(Site):
    """A root of an app that is built by its Dockerfile, or what `image` says."""

    def __init__(self, place: Path, engine: Engine, kind: str) -> None:
        self.engine, self.kind = engine, kind
        self.image = 'dockerfile = "Dockerfile"\n'
        """The keys that say what it runs in, and where that comes from."""
        super().__init__(place)
        self.runtime = kind
        self.configure()
        self.write_dockerfile()
        self.repository.commit("1")

    def write_dockerfile(self, text: str = DOCKERFILE) -> None:
        (self.repository.directory / "Dockerfile").write_text(text)

    def configure(self, *, more: str = "", start: str = "", balancer: str = "") -> None:
        source = "" if 'source = "image"' in self.image else f'repo = "{self.repository.directory}"\n'
        start = f'start = "{start}"\n' if start else ""
        (self.root / "substitute.toml").write_text(
            f'[balancer]\n{self.balancer}\n{balancer}\n[runtime]\nkind = "{self.runtime}"\n'
            f"[app.shop]\n{source}{self.image}{start}ports = [{self.ports[0]}, {self.ports[1]}]\n{more}"
        )

    @property
    def prefix(self) -> str:
        return f"substitute-{sha256(os.fsencode(self.root.resolve()))[:8]}"

    def containers(self, *, ended: bool = False) -> dict[str, str]:
        """Those of this root that run, each with its id."""
        everything = ["--all"] if ended else []
        form = "{{.Names}} {{.ID}}"
        listed = self.engine(
            "ps", *everything, "--no-trunc", "--filter", f"name={self.prefix}", "--format", form
        )
        return {
            name.removeprefix(f"{self.prefix}-"): number
            for name, number in map(str.split, listed.splitlines())
        }

    def images(self) -> dict[str, str]:
        """The tags that hold images for this root, each with its image's id."""
        name = f"localhost/{self.prefix}/shop"
        listed = self.engine("image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", f"{name}:*")
        return dict(line.split() for line in listed.splitlines())

    def close(self) -> None:
        with suppress(AssertionError, subprocess.TimeoutExpired):
            super().close()
        if found := list(self.containers(ended=True).values()):
            self.engine("rm", "--force", *found)
        if tags := list(self.images()):
            self.engine("image", "rm", "--force", *(f"localhost/{self.prefix}/shop:{tag}" for tag in tags))


def container_site(place: Path, request: pytest.FixtureRequest) -> Iterator[ContainerSite]:
    """One of the engine that is the parameter of `request`; removed when it is asked for another one."""
    engine: Engine = request.getfixturevalue(request.param)
    fill(engine)
    made = ContainerSite(place, engine, request.param)
    yield made
    made.close()


def get(port: int, path: str = "/", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """What the balancer answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
