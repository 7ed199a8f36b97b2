"""A server of a cluster's API for unit tests: real TLS and HTTP, and objects that are only kept, not obeyed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from substitute.runtimes.kubernetes.access import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ApiServer:
    """What it has, what it was asked, and what it is to refuse."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        """By their paths, as ``/api/v1/namespaces/shop/pods/NAME``."""
        self.status: dict[str, Any] = {}
        """What is said of every pod that is made."""
        self.log = ""
        """What every pod wrote, as a node keeps it: each line with its time."""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and query."""
        self.refusals: dict[tuple[str, str], list[tuple[int, dict[str, str]]]] = defaultdict(list)
        """By method and kind, as ``pods``: the next answers, each a status and headers. The last one stays."""

        self.says = "not now"
        """The reason for them."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any] | str, dict[str, str]]:
        """Status, body and headers."""
        if refusals := self.refusals.get((method, _in_namespace(path).split("/")[0])):
            status, headers = refusals.pop(0) if len(refusals) > 1 else refusals[0]
            if status:
                return status, {"message": self.says}, headers
        if method in {"POST", "PATCH"}:
            return *self._made(method, path, json.loads(body)), {}
        return *self._found(method, path), {}

    def _made(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        where = path if method == "PATCH" else f"{path}/{body['metadata']['name']}"
        if where in self.objects and method == "POST":
            return 409, {"message": "already exists"}
        self.objects[where] = {**body, "status": self.status} if body.get("kind") == "Pod" else body
        return 200, self.objects[where]

    def _found(self, method: str, path: str) -> tuple[int, dict[str, Any] | str]:
        if path.endswith("/log"):
            return 200, self.log
        if method == "GET" and "/" not in _in_namespace(path):
            return 200, {"items": [one for at, one in self.objects.items() if at.startswith(f"{path}/")]}
        if path not in self.objects:
            return 404, {"message": "not found"}
        return 200, self.objects.pop(path) if method == "DELETE" else self.objects[path]

    def names(self, kind: str) -> list[str]:
        """Of the objects of a kind that are there."""
        found = (_in_namespace(path).split("/") for path in self.objects)
        return [name for its, name in found if its == kind]


def _in_namespace(path: str) -> str:
    return path.partition("/namespaces/shop/")[2]


@contextmanager
def served(place: Path, server: ApiServer) -> Iterator[Settings]:
    """Where it is reached, by a kubeconfig in `place`."""
    certificate, key = place / "server.crt", place / "server.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=it"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            at = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: value[0] for name, value in parse_qs(at.query).items()}
            server.asked.append((self.command, at.path, query))
            status, told, headers = server.answer(self.command, at.path, body)
            data = (told if isinstance(told, str) else json.dumps(told)).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  # their names there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    kubeconfig = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me", "namespace": "shop"}}],
        "clusters": [
            {
                "name": "it",
                "cluster": {
                    "server": f"https://127.0.0.1:{http.server_port}",
                    "certificate-authority": str(certificate),
                },
            }
        ],
        "users": [{"name": "me", "user": {"token": "t0ken"}}],
    }
    (place / "kubeconfig").write_text(json.dumps(kubeconfig))  # JSON is YAML
    try:
        yield Settings(str(place / "kubeconfig"), namespace="shop")
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
