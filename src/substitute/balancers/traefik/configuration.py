"""The file that Traefik's file provider reads, as text: what, not how.

It is JSON below a line of comment, and so it is YAML: written without another library, and read back by us.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from substitute.core.model.slots import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from substitute.core.ports.balancer import Backend

IDLE_SECONDS = 1
"""How long Traefik keeps an idle connection to an instance.

Shorter than any app does (gunicorn 2 s, node and uvicorn 5 s), or one would be closed under a POST, which may not be
sent twice. And an idle connection can't be told from a request: so long does an instance take to drain.
"""
_MARK = "# Written by substitute; it is replaced at every switch."


def service(app: str) -> str:
    """Name what the user's routers refer to."""
    return f"{app}@file"


def weights(backend: Backend) -> dict[str, int]:
    """The weight of each server, under the URL that Traefik knows it by."""
    return {f"http://{server.endpoint}": server.share for server in backend.servers}


def render(backends: Sequence[Backend]) -> str:
    """The whole file: a service and a transport for each app. A Traefik that starts from it obeys too."""
    services = {backend.app: {"loadBalancer": _balanced(backend)} for backend in backends}
    transports = {
        _transport(backend.app): {"forwardingTimeouts": {"idleConnTimeout": f"{IDLE_SECONDS}s"}}
        for backend in backends
    }
    # Traefik refuses a file in which a table is empty.
    document = {"http": {"services": services, "serversTransports": transports}} if services else {}
    return f"{_MARK}\n{json.dumps(document, indent=2)}\n"


def is_ours(text: str) -> bool:
    """Whether substitute may replace a file of this content."""
    return not text.strip() or text.startswith(_MARK)


def apps(text: str) -> Mapping[str, tuple[Endpoint, ...]]:
    """The apps in a file that `render` wrote, and their endpoints; none in any other."""
    try:
        document: dict[str, Any] = json.loads(text.removeprefix(_MARK))
        services = document.get("http", {}).get("services", {})
        return {
            app: tuple(_endpoint(server["url"]) for server in known["loadBalancer"]["servers"])
            for app, known in services.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _balanced(backend: Backend) -> dict[str, object]:
    return {
        "serversTransport": _transport(backend.app),
        # A server of weight 0 gets nothing, and stays in the answer of the API. None with more: 503.
        "servers": [{"url": url, "weight": weight} for url, weight in weights(backend).items()],
    }


def _transport(app: str) -> str:
    return f"substitute-{app}"


def _endpoint(url: str) -> Endpoint:
    parts = urlsplit(url)
    return Endpoint(parts.hostname or "", parts.port or 0)
