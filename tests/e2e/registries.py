"""A registry of the tests' own. On the loopback an engine asks it without TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

USER, PASSWORD = "shop", "s3cret"


class Registry:
    """One that runs, until `stop`."""

    def __init__(self, place: Path, *, login: bool, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.address = f"{host}:{self.port}"
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

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def push(self, archive: Path, name: str) -> str:
        """Bring an OCI archive there as NAME:TAG, without an engine; its reference by digest."""
        repository, _, tag = name.partition(":")
        with tarfile.open(archive) as tar:
            held = {entry.name: _content(tar, entry) for entry in tar.getmembers()}

        def blob(one: dict[str, str]) -> bytes:
            return held[f"blobs/{one['digest'].replace(':', '/')}"]

        image = json.loads(held["index.json"])["manifests"][0]
        text = blob(image)
        manifest = json.loads(text)
        for part in (manifest["config"], *manifest["layers"]):
            place = self._send("POST", f"/v2/{repository}/blobs/uploads/", b"", "")["Location"]
            place = place.removeprefix(f"http://{self.address}")
            self._send("PUT", f"{place}&digest={part['digest']}", blob(part), "application/octet-stream")
        self._send("PUT", f"/v2/{repository}/manifests/{tag}", text, image["mediaType"])
        return f"{self.address}/{repository}@{image['digest']}"

    def _send(self, method: str, path: str, body: bytes, kind: str) -> Mapping[str, str]:
        connection = HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 300, f"{method} {path}: {answer.status} {said!r}"
            return dict(answer.getheaders())
        finally:
            connection.close()

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return file.read() if file else b""


@contextmanager
def registry(place: Path, *, login: bool = False, host: str = "127.0.0.1") -> Iterator[Registry]:
    """Skips where there can be none."""
    if not (shutil.which("docker-registry") and shutil.which("htpasswd") and shutil.which("curl")):
        pytest.skip("needs docker-registry, htpasswd and curl")
    place.mkdir()
    made = Registry(place, login=login, host=host)
    try:
        made.start()
        yield made
    finally:
        made.stop()
