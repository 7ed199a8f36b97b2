"""A registry of the tests' own, on the loopback: an engine asks one there without TLS."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "shop", "s3cret"


class Registry:
    """One that runs, until `stop`."""

    def __init__(self, place: Path, *, login: bool) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        auth = ""
        if login:
            users = place / "users"
            subprocess.run(["htpasswd", "-Bbc", users, USER, PASSWORD], check=True, capture_output=True)
            auth = f"auth:\n  htpasswd: {{realm: shop, path: {users}}}\n"
        (place / "registry.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {place}/data}}\n"
            f"  delete: {{enabled: true}}\nhttp: {{addr: '{self.address}'}}\n{auth}"
        )

    def start(self) -> None:
        with (self._place / "registry.log").open("ab") as log:
            command = ["docker-registry", "serve", str(self._place / "registry.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        asked = ["curl", "--silent", "--output", "/dev/null", f"http://{self.address}/v2/"]
        eventually(lambda: subprocess.run(asked, check=False).returncode == 0, "the registry answers")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()


@contextmanager
def registry(place: Path, *, login: bool = False) -> Iterator[Registry]:
    """Skips where there can be none."""
    if not (shutil.which("docker-registry") and shutil.which("htpasswd") and shutil.which("curl")):
        pytest.skip("needs docker-registry, htpasswd and curl")
    place.mkdir()
    made = Registry(place, login=login)
    try:
        made.start()
        yield made
    finally:
        made.stop()
