"""Calls to an API server: REST and JSON over one connection that is kept."""

from __future__ import annotations

import http.client
import json
import math
import socket
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from substitute.runtimes.kubernetes.access import Credentials, read
from substitute.runtimes.kubernetes.failures import Refused, Silent, cure_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from substitute.runtimes.kubernetes.access import Access, Settings

_PATIENCE, _CONNECTING = 10.0, 3.0
"""Seconds for an answer, and for a connection. API servers give up after 60, but nothing here takes so long."""
_GIVEN_UP = 5.0
"""Seconds for which a server that was silent is not asked again: a command has many questions."""
_MANAGER = "substitute"
"""The field manager of what is applied: the server tells its fields from those that others have set."""
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_UNAUTHORIZED, _NOT_FOUND, _BUSY, _FAULT, _OVERLOADED = 401, 404, 429, 500, 503
_TRIES = 3
"""How often it is asked while it is busy: that passes, as when one of several servers ends."""
_PAUSE, _LONGEST_PAUSE = 0.5, 2.0
"""Seconds between two of these, where the server does not say; and at most."""
_RECENT = 0.05
"""Seconds for which a list is told again that was asked for: who waits looks more often than a cluster changes."""
_CORE, _GROUPS = "api/v1", {"Deployment": "apis/apps/v1", "Lease": "apis/coordination.k8s.io/v1"}
"""Where kinds of objects are found: all but some in the core."""


@lru_cache(maxsize=4)
def api_of(settings: Settings) -> Api:
    """The one of this process."""
    return Api(settings)


class Api:
    """The API of one namespace. Not for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recent: dict[str, tuple[float, list[dict[str, Any]]]] = {}
        self._silent: tuple[float, Silent] | None = None
        self._connection: http.client.HTTPSConnection | None = None
        self._dated: tuple[float, float] | None = None

    @cached_property
    def _access(self) -> Access:
        return read(self._settings)

    @cached_property
    def _credentials(self) -> Credentials:
        return Credentials(self._access)

    @property
    def namespace(self) -> str:
        """Where everything is made. Raises Silent where the kubeconfig cannot be used."""
        return self._access.namespace

    def now(self) -> float:
        """The server's time, in seconds since the epoch: the same for all who ask it. Known after its first answer."""
        answered, then = self._dated or (time.monotonic(), time.time())
        return then + time.monotonic() - answered

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object; None where there is none of that name. Raises Silent and Refused."""
        try:
            return self._json("GET", self._path(kind, name))
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise

    def list(self, kind: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The objects with these labels. Raises as `get` does."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        when, found = self._recent.get(f"{kind} {selector}", (-math.inf, []))
        if time.monotonic() - when >= _RECENT:
            found = self._json("GET", self._path(kind), {"labelSelector": selector})["items"]
            self._recent[f"{kind} {selector}"] = time.monotonic(), found
        return found

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object, or what is there the same (server-side apply): to do so twice changes nothing."""
        path = self._path(body["kind"], body["metadata"]["name"])
        return self._json("PATCH", path, {"fieldManager": _MANAGER, "force": "true"}, body, _APPLY)

    def merge(self, kind: str, name: str, change: Mapping[str, Any]) -> bool:
        """Change some fields of an object. False where there is none of that name."""
        return self._there("PATCH", self._path(kind, name), {"fieldManager": _MANAGER}, change, _MERGE)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object. Raises Refused (409) where there is one of that name."""
        return self._json("POST", self._path(body["kind"]), {"fieldManager": _MANAGER}, body)

    def delete(self, kind: str, name: str, *, grace: int | None = None) -> bool:
        """Remove an object; a pod gets `grace` seconds from its stop signal on. False where there is none."""
        query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        return self._there("DELETE", self._path(kind, name), query)

    def log(self, pod: str, **query: str) -> str:
        """What the container of a pod wrote."""
        told = self._call("GET", f"{self._path('Pod', pod)}/log", query)
        return told.decode(errors="replace")

    def _there(self, *arguments: Any) -> bool:
        try:
            self._json(*arguments)
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return False
            raise
        return True

    def _path(self, kind: str, name: str = "") -> str:
        place = f"/{_GROUPS.get(kind, _CORE)}/namespaces/{quote(self.namespace)}/{kind.lower()}s"
        return f"{place}/{quote(name)}" if name else place

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        form: str = "application/json",
    ) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._call(method, path, query, body, form))
        return found

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        form: str = "application/json",
    ) -> bytes:
        """What it answers. Raises Silent and Refused."""
        if method != "GET":
            self._recent.clear()
        target = self._access.path + path + (f"?{urlencode(query)}" if query else "")
        status, answer = self._asked(method, target, body, form)
        if status == _UNAUTHORIZED and self._credentials.renew():
            self._close()
            status, answer = self._asked(method, target, body, form)
        if status == _BUSY or status >= _FAULT:
            raise self._no_answer(_refused(status, answer).fact)
        if status >= 400:
            raise _refused(status, answer)
        return answer

    def _asked(self, method: str, target: str, body: object, form: str) -> tuple[int, bytes]:
        """Ask once, and again while the server says that it is busy: then it has done nothing."""
        for tried in range(1, _TRIES + 1):
            status, answer, after = self._exchange(method, target, body, form)
            if status not in {_BUSY, _OVERLOADED} or tried == _TRIES:
                break
            time.sleep(min(after, _LONGEST_PAUSE))
        return status, answer

    def _exchange(self, method: str, target: str, body: object, form: str) -> tuple[int, bytes, float]:
        """One question, its answer, and after how many seconds to ask again where the server is busy.

        A kept connection may have been closed meanwhile: then over a new one.
        """
        if self._silent and time.monotonic() - self._silent[0] < _GIVEN_UP:
            raise self._silent[1]
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": form}
        try:
            if token := self._credentials.token():
                headers["Authorization"] = f"Bearer {token}"
            while True:
                kept = self._connection
                connection = kept or self._connect()
                try:
                    connection.request(method, target, data, headers)
                    told = connection.getresponse()
                    with suppress(TypeError, ValueError):
                        self._dated = (
                            time.monotonic(),
                            parsedate_to_datetime(told.headers["Date"]).timestamp(),
                        )
                    return told.status, told.read(), _pause(told.headers["Retry-After"])
                except (OSError, http.client.HTTPException) as error:
                    self._close()
                    # What was made twice is the same, and what a POST has made is found when it is refused as there.
                    if kept is None or isinstance(error, TimeoutError):
                        raise
        except Silent as silent:
            self._silent = time.monotonic(), silent
            raise
        except (OSError, http.client.HTTPException) as error:
            failure = self._no_answer(f"{type(error).__name__}: {error}")
            self._silent = time.monotonic(), failure
            raise failure from error

    def _no_answer(self, fact: str) -> Silent:
        return Silent(
            f"The cluster's API server {self._access.host}:{self._access.port} does not answer.",
            fact=fact,
            cure="What runs there goes on. `kubectl cluster-info` asks it, too.",
        )

    def _connect(self) -> http.client.HTTPSConnection:
        self._connection = _Connection(self._access, self._credentials)
        return self._connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


class _Connection(http.client.HTTPSConnection):
    """One on which a small question is sent at once, and whose server is verified by the name that it is to have."""

    def __init__(self, access: Access, credentials: Credentials) -> None:
        super().__init__(access.host, access.port, timeout=_PATIENCE)
        self._tls: ssl.SSLContext = credentials.context()
        self._server_name = credentials.server_name

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), _CONNECTING)
        plain.settimeout(self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._server_name)


def _pause(said: str | None) -> float:
    """Seconds until the next try, by a Retry-After."""
    return float(said) if said and said.isdecimal() else _PAUSE


def _refused(status: int, answer: bytes) -> Refused:
    try:
        said = str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        said = answer.decode(errors="replace").strip()
    refused = Refused("The cluster refuses.", fact=f"{said} (status {status})", cure=cure_of(said, status))
    refused.status = status
    return refused
