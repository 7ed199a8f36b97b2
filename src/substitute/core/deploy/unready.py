"""Why an instance is not ready, as far as it can be seen from outside, and the line that mends it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.model.apps import Health
    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import Endpoint

_MOST = 3
"""Addresses that are named."""
_EVERY = {"0.0.0.0": "all IPv4 addresses", "::": "all IPv6 addresses"}  # noqa: S104  # named, not bound
_LISTEN_LINES = {
    r"gunicorn\b": "gunicorn -b $ADDRESS",
    r"uvicorn\b": "uvicorn --host $HOST --port $PORT",
    r"hypercorn\b": "hypercorn -b $ADDRESS",
    r"waitress-serve\b": "waitress-serve --listen=$ADDRESS",
    r"runserver\b": "manage.py runserver $ADDRESS",
    r"flask\b": "flask run --host $HOST --port $PORT",
    r"http\.server\b": "python3 -m http.server -b $HOST $PORT",
    r"puma\b": "puma -b tcp://$ADDRESS",
    r"rails\b": "rails server -b $HOST -p $PORT",
    r"rackup\b": "rackup -o $HOST -p $PORT",
    r"next\b": "next start -H $HOST -p $PORT",
    r"php\b.* -S\b": "php -S $ADDRESS",
    r"(node|npm|npx|yarn|pnpm|bun|pm2-runtime)\b": "server.listen(process.env.PORT, process.env.HOST)",
}
"""What makes an app listen where it is to, by what is found in `start`; the first that is found counts."""


def places(found: Iterable[Endpoint]) -> str:
    """Where something listens, in words."""
    known = sorted(found)
    named = [
        f"port {one.port} of {_EVERY[one.host]}" if one.host in _EVERY else str(one) for one in known[:_MOST]
    ]
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return ", ".join(named) + more


def to_listen(endpoint: Endpoint, start: str) -> str:
    """What makes the app that `start` runs listen on `endpoint`."""
    lines = [line for pattern, line in _LISTEN_LINES.items() if re.search(rf"(^|[\s/]){pattern}", start)]
    how = f"`{lines[0]}`" if lines else "`start` can give it $ADDRESS, or $HOST and $PORT"
    return f"Make the app listen on {endpoint}: {how}."


def to_answer_well(slot: SlotRecord, health: Health, seen: str) -> str:
    """What mends a health check that gets the answer `seen`, where that shows it; empty where it does not."""
    key = f"app.{slot.app}.health"
    cures = []
    if seen in {"400", "403", "421"}:
        cures.append(
            f"The health check asks for the host {health.host or slot.endpoints[0]}. If the app accepts only its own "
            f'names (ALLOWED_HOSTS of Django, config.hosts of Rails), set {key}.host to one of them, as "example.com".'
        )
    if seen in {"401", "403", "407"}:
        cures.append(f"If {health.path} asks for a login, set {key}.path to a path that does not.")
    if seen in {"404", "405", "410"}:
        cures.append(f"Set {key}.path to a path that the app answers with 200.")
    return " ".join(cures)
