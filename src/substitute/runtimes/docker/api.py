"""Calls to dockerd: HTTP over its socket, each on a connection of its own."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from substitute.core.model.errors import RuntimeFailedError
from substitute.http.exchange import ask, request
from substitute.http.failures import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VERSION = "1.41"
"""Of Docker 20.10. Later ones speak it too, until they say which one they speak at least."""
_AT_LEAST = re.compile(r"Minimum supported API version is ([0-9.]+)")
_PATIENCE = 30.0
"""To start a container may take some seconds on a machine that has much else to do."""
_SOCKET = "unix:///var/run/docker.sock"


class Silent(RuntimeFailedError):  # noqa: N818
    """dockerd is there and does not answer: what it keeps is not known."""


class Absent(RuntimeFailedError):  # noqa: N818
    """No dockerd runs. What it kept may go on without it."""


class Refused(RuntimeFailedError):  # noqa: N818
    """dockerd says no."""

    status = 0
    """Of its answer: 404 is that there is no such thing, 409 that it is not in a state for that."""


class Api:
    """The dockerd of this machine, or the one that DOCKER_HOST names."""

    def __init__(self, host: str | None = None) -> None:
        self._host = host or os.environ.get("DOCKER_HOST") or _SOCKET
        self._version = _VERSION
        self.patience = _PATIENCE
        """Seconds for an answer."""

    def get(self, path: str, **query: object) -> Any:
        """What it tells. Raises as `call` does."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        patience: float | None = None,
    ) -> Any:
        """What it answers, from JSON; bytes where that is something else. Raises Absent, Silent and Refused."""
        patience = self.patience if patience is None else patience
        try:
            return self._exchange(method, path, body, query or {}, patience)
        except Refused as refused:
            if not (least := _AT_LEAST.search(refused.fact)) or least[1] == self._version:
                raise
            self._version = least[1]
            return self._exchange(method, path, body, query or {}, patience)

    def begin(self, path: str, **query: object) -> socket.socket:
        """Ask for `path`; the connection, from which the answer can be read. Raises Absent and Silent."""
        with self._told_as_it_is():
            connection = self._connect(self.patience)
            connection.sendall(self._request("GET", path, None, query))
            return connection

    def _exchange(
        self, method: str, path: str, body: object, query: Mapping[str, object], patience: float
    ) -> Any:
        with self._told_as_it_is(), self._connect(patience) as connection:
            reply = ask(connection, self._request(method, path, body, query), patience)
        is_json = "json" in reply.head.headers.get("content-type", "")
        answer = json.loads(reply.body) if is_json and reply.body else reply.body
        if reply.head.status >= 400:
            said = answer["message"] if isinstance(answer, dict) else reply.body.decode(errors="replace")
            refused = Refused("Docker refuses.", fact=said.strip())
            refused.status = reply.head.status
            raise refused
        return answer

    def _request(self, method: str, path: str, body: object, query: Mapping[str, object]) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        words = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()
        }
        target = f"/v{self._version}{path}" + (f"?{urlencode(words)}" if words else "")
        headers = {"Host": "docker", "Connection": "close"}
        if method != "GET":
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        return request(method, target, headers.items(), data)

    def _connect(self, patience: float) -> socket.socket:
        if not self._host.startswith("unix://"):
            raise Silent(
                "Docker must be that of this machine.",
                fact=f"DOCKER_HOST is {self._host!r}, and no socket.",
                cure="Unset DOCKER_HOST, or set it to `unix://` and the path of a socket.",
            )
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(patience)
        try:
            connection.connect(self._host.removeprefix("unix://"))
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _told_as_it_is(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Absent(
                "Docker does not run.",
                fact=f"{self._host}: {error.strerror}.",
                cure="Start it: `systemctl start docker`.",
            ) from error
        except PermissionError as error:
            raise Silent(
                "Docker lets this user do nothing.",
                fact=f"{self._host}: {error.strerror}.",
                cure="The group `docker` may ask it: `usermod --append --groups docker USER`.",
            ) from error
        except TimeoutError as error:
            raise Silent("Docker does not answer.", fact=f"{self._host}: {error}.") from error
        except (OSError, FailedError) as error:
            raise Absent("Docker ended before it had answered.", fact=f"{self._host}: {error}.") from error
