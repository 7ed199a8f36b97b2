"""The images of clusters: an app that says its version, and what holds a pod's network."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import IO

from tests.images import PYTHON, layer, program_layer, python_layer, write_archive

_APP = Path(__file__).with_name("app.py")
PORT = 8080
"""Where the app listens, unless its PORT says otherwise."""


def write_app(out: IO[bytes], name: str, version: str) -> str:
    """Write an OCI archive of `app.py` as that version; its digest."""
    app = layer({"/app/app.py": _APP.read_bytes()})
    command = [str(PYTHON), "-S", "-E", "/app/app.py"]
    return write_archive(out, name, [_python(), app], command, {"VERSION": version})


def app_base() -> bytes:
    """What `app.py` needs, as an image is imported."""
    return _python()


def write_dockerfile(directory: Path, version: str, base: str, more: str = "") -> None:
    """Have `app.py` there as that version, with what builds it from the image `base`."""
    (directory / "app.py").write_bytes(_APP.read_bytes())
    (directory / "Dockerfile").write_text(
        f"FROM {base}\nENV VERSION={version}\nCOPY app.py /app/\n{more}\n"
        f"CMD {json.dumps([str(PYTHON), '-S', '-E', '/app/app.py'])}\n"
    )


def write_pause(out: IO[bytes], name: str) -> str:
    """Write what a pod's network hangs on: the engine kills it, so it need not listen to signals."""
    return write_archive(out, name, [program_layer(Path("/bin/sleep"))], ["/bin/sleep", "infinity"])


@cache
def _python() -> bytes:
    return python_layer(_APP)
