"""Images of this machine's own files: no registry, no image of anybody's."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PYTHON = Path(sys.executable).resolve()
"""The program that is in it."""
_SHELL = [Path("/bin") / name for name in ("sh", "true", "cat", "sleep", "env", "id", "ls", "kill")]
_PASSED_OVER = frozenset({"test", "idlelib", "site-packages", "dist-packages", "lib2to3", "tkinter"})


def write_python(out: IO[bytes]) -> None:
    """Write a tar of Python, a shell and a few programs, with the libraries that they need, each where it is here."""
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    found = []
    for place, directories, files in os.walk(stdlib):
        directories[:] = [
            one for one in directories if one not in _PASSED_OVER and not one.startswith("config-")
        ]
        found += [Path(place, name) for name in files]
    _write(out, [PYTHON, *_SHELL], found)


def python_layer(script: Path) -> bytes:
    """As `write_python`, but with no more of Python than a script imports at its top: a quarter, and it counts."""
    ask = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); import encodings.idna\n"
        "print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')\n"
        "print(*(m.__cached__ for m in sys.modules.values() if getattr(m, '__cached__', None)), sep='\\n')"
    )
    command = [str(PYTHON), "-S", "-E", "-c", ask, str(script)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    needed = [Path(line) for line in told.splitlines() if Path(line).exists()]
    out = io.BytesIO()
    _write(out, [PYTHON, *_SHELL], needed)
    return out.getvalue()


def program_layer(program: Path) -> bytes:
    """One program, with the libraries that it needs."""
    out = io.BytesIO()
    _write(out, [program], [])
    return out.getvalue()


def _write(out: IO[bytes], programs: Sequence[Path], more: Sequence[Path]) -> None:
    """Write a tar of these, with the libraries that they need."""
    linked = [*programs, *(path for path in more if path.suffix == ".so")]
    told = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=False).stdout
    libraries = {Path(found.rstrip(":")) for found in re.findall(r"/\S+\.so\S*", told)}
    with tarfile.open(fileobj=out, mode="w|") as tar:
        seen: set[str] = set()
        for top in ("/bin", "/lib", "/lib64"):
            if Path(top).is_symlink():
                _add(tar, top, seen)
        for path in (*programs, *sorted(libraries), *more):
            _add(tar, str(path), seen)


def _add(tar: tarfile.TarFile, path: str, seen: set[str]) -> None:
    """A file, and where it is a link what that leads to; in the directory that it is really in."""
    parent, name = os.path.split(os.path.normpath(path))
    path = os.path.join(os.path.realpath(parent), name)  # noqa: PTH118
    if path in seen or not os.path.lexists(path):
        return
    seen.add(path)
    tar.add(path, recursive=False)
    if Path(path).is_symlink():
        _add(tar, os.path.join(os.path.dirname(path), os.readlink(path)), seen)  # noqa: PTH118, PTH115, PTH120


def layer(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files, by their paths in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def write_archive(
    out: IO[bytes],
    name: str,
    layers: Sequence[bytes],
    command: Sequence[str],
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write an image as an OCI archive, which needs no engine; its digest."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = sha256(content).hexdigest()
        blobs[digest] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    held = [blob(content, "layer.v1.tar") for content in layers]
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    configuration = {
        "architecture": machine,
        "os": "linux",
        "config": {"Cmd": list(command), "Env": [f"{key}={value}" for key, value in variables.items()]},
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in held]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(configuration).encode(), "config.v1+json"),
        "layers": held,
    }
    image = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    called = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(
            {"schemaVersion": 2, "manifests": [{**image, "annotations": called}]}
        ).encode(),
        **{f"blobs/sha256/{digest}": content for digest, content in blobs.items()},
    }
    out.write(layer(files))
    return str(image["digest"])
