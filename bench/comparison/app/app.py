"""The same app as www.js, for gunicorn."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

VERSION = Path(__file__).with_name("version.txt").read_text(encoding="utf-8").strip()
if VERSION == "broken":
    raise RuntimeError("a bug")
time.sleep(1)  # its boot


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """GET answers the version, POST its body; /slow takes 0.3 s longer."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.3)
    if environ["REQUEST_METHOD"] != "POST":
        body = f"version {VERSION}\n".encode()
    start_response("200 OK", [("X-Version", VERSION), ("Content-Length", str(len(body)))])
    return [body]
