"""The images of clusters: an app that says its version, and what holds a pod's network."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from tests.images import PYTHON, layer, python_layer, write_archive

PORT = 8080
"""Where the app listens, unless its PORT says otherwise."""


def write_app(out: IO[bytes], name: str, version: str) -> str:
    """Write an OCI archive of `app.py` as that version; its digest."""
    app = layer({"/app/app.py": Path(__file__).with_name("app.py").read_bytes()})
    command = [str(PYTHON), "-S", "-E", "/app/app.py"]
    return write_archive(out, name, [python_layer(), app], command, {"VERSION": version})


def write_pause(out: IO[bytes], name: str) -> str:
    """Write what a pod's network hangs on: the engine kills it, so it need not listen to signals."""
    return write_archive(out, name, [python_layer()], ["/bin/sleep", "infinity"])
