"""What Traefik says of itself, through its API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from substitute.http import exchange
from substitute.http.failures import FailedError
from substitute.values import dataclass

_TIMEOUT = 5.0
_NEEDS = (
    "Traefik's static configuration needs `api: {insecure: true}` with the entry point `traefik` on loopback, or a "
    "router of your own to api@internal; balancer.api in substitute.toml says where that answers."
)


class SilentError(Exception):
    """Traefik could not be asked: the fact that was seen, and the cure."""

    def __init__(self, fact: str, cure: str = _NEEDS, *, refused: bool = False) -> None:
        super().__init__(fact)
        self.refused = refused
        """Nobody listens there. Else somebody does who is slow, or stopped, and may serve yet."""
        self.fact = fact
        self.cure = cure


@dataclass(frozen=True)
class Service:
    """A service that is in force."""

    weights: dict[str, int]
    """By URL. Traefik takes 1 where none is given."""
    errors: tuple[str, ...] = ()
    """Why it is disabled."""


def service(api: str, name: str) -> Service | None:
    """The service called `name` (``shop@file``), or None where Traefik has none. Raises SilentError."""
    path = f"/api/http/services/{name}"
    status, body = _get(api, path)
    answer = _parsed(body)
    if status == 200 and answer is not None:
        try:
            return _service(answer)
        except (AttributeError, TypeError, ValueError) as error:
            raise SilentError(f"What answers there is not Traefik's API ({path} is {answer}).") from error
    if status == 404 and answer is not None:  # a 404 of the API's own is JSON
        return None
    if status in {401, 403}:
        raise SilentError(
            f"It answers {status}: it wants a password.",
            "substitute has no password for it: give it an entry point on loopback without one, as balancer.api.",
        )
    raise SilentError(f"What answers there is not Traefik's API (status {status}).")


def _get(api: str, path: str) -> tuple[int, bytes]:
    place = urlsplit(api)
    try:
        reply = exchange.get(f"{place.scheme}://{place.netloc}{path}", _TIMEOUT)
    except (OSError, FailedError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        refused = isinstance(error, ConnectionRefusedError)
        raise SilentError(f"{reason}.", f"Is Traefik running? {_NEEDS}", refused=refused) from error
    return reply.head.status, reply.body


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _service(answer: dict[str, Any]) -> Service:
    servers = (answer.get("loadBalancer") or {}).get("servers") or []
    disabled = answer.get("status") == "disabled"
    return Service(
        {str(server.get("url")): int(server.get("weight", 1)) for server in servers},
        tuple(map(str, answer.get("error") or ("it is disabled",))) if disabled else (),
    )
