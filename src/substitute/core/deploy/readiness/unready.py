"""Why an instance is not ready, as far as it can be seen from outside, and the line that mends it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.model.health import ANY_GOOD
from substitute.core.model.instances import WEB

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from substitute.core.model.health import Health
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.prober import Answer

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


def misses(found: Collection[Endpoint], endpoint: Endpoint) -> str:
    """Where something listens, and that this is not where it should."""
    port = f"$PORT ({endpoint.port})"
    return f"{places(found)}, not on {endpoint if any(one.port == endpoint.port for one in found) else port}"


def to_listen(endpoint: Endpoint, start: str) -> str:
    """What makes the app that `start` runs listen on `endpoint`."""
    lines = [line for pattern, line in _LISTEN_LINES.items() if re.search(rf"(^|[\s/]){pattern}", start)]
    how = f"`{lines[0]}`" if lines else "`start` can give it $ADDRESS, or $HOST and $PORT"
    return f"Make the app listen on {endpoint}: {how}."


def table_of(instance: InstanceRecord) -> str:
    """The table of substitute.toml that is about it."""
    own = "" if instance.process_type == WEB else f".process.{instance.process_type}"
    return f"app.{instance.app}{own}"


def asked_for(health: Health, instance: InstanceRecord) -> str:
    """What the instance was to do, in words."""
    if health.command:
        return f"pass `{health.command}`"
    if not instance.endpoints:
        return "run"
    if health.kind == "tcp":
        return f"accept on {instance.endpoints[0]}"
    statuses = "2xx-3xx" if health.status == ANY_GOOD else health.status
    holding = f" with the text {quoted(health.expect)}" if health.expect else ""
    return f"answer {statuses}{holding} on :{instance.endpoints[0].port}{health.path}"


def wrote(health: Health, last: Answer) -> str:
    """What the last answer shows of the reason, line by line; empty where that is nothing."""
    if not last.lines:
        return ""
    whose = f"`{health.command}` wrote" if health.command else "The answer begins with"
    return "\n".join([f"{whose}:", *(f"  > {line}" for line in last.lines)])


def to_answer_well(instance: InstanceRecord, health: Health, last: Answer) -> str:
    """What mends a health check that gets `last`, where that shows it; empty where it does not."""
    if health.command:
        return ""
    table, status = f"{table_of(instance)}.health", last.seen[:3]
    cures = []
    if status in {"400", "403", "421"}:
        cures.append(
            f"The health check asks for the host {health.host or instance.endpoints[0]}. If the app accepts only its "
            f"own names (ALLOWED_HOSTS of Django, config.hosts of Rails), set {table}.host to one of them, "
            'as "example.com".'
        )
    if status in {"401", "403", "407"}:
        cures.append(f"If {health.path} asks for a login, set {table}.path to a path that does not.")
    if status in {"404", "405", "410"}:
        cures.append(f"Set {table}.path to a path that the app answers with 200.")
    if status in {"301", "302", "303", "307", "308"}:
        cures.append(
            f'If the app wants https, write headers = {{ X-Forwarded-Proto = "https" }} in [{table}]. '
            f"Else set {table}.path to a path that is not redirected."
        )
    if status.startswith("2"):
        key = "expect" if health.accepts(int(status)) else "status"
        cures.append(f"If that is a good answer, correct {table}.{key}.")
    return " ".join(cures)


def quoted(text: str) -> str:
    """A text as TOML has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
