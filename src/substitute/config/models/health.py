"""The tables [app.NAME.health] and [app.NAME.process.PROCESS.health], and the types of their keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.config.literals import kind
from substitute.config.tables import List, Named, Refused, Table, Value, key, optional
from substitute.config.values import (
    Command,
    Count,
    HealthPath,
    HostHeader,
    PositiveDuration,
    choice,
    text,
)
from substitute.core.model.health import Health

if TYPE_CHECKING:
    from collections.abc import Collection

_HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_OURS = {
    "host": 'write health.host = "shop.example.com" instead',
    "connection": "substitute closes the connection after each answer",
    "content-length": "a health check has no body",
    "transfer-encoding": "a health check has no body",
}
"""Headers that substitute sets itself, in lower case, and what to do instead."""
_STATUSES = 'statuses from 200 to 599, such as "200-299" or "200,204,301-302"'


def _statuses(written: str) -> str:
    ranges = re.sub(r"\s*([,-])\s*", r"\1", written.strip())
    if not re.fullmatch(r"[2-5][0-9]{2}(-[2-5][0-9]{2})?(,[2-5][0-9]{2}(-[2-5][0-9]{2})?)*", ranges):
        raise ValueError(_STATUSES)
    for one in ranges.split(","):
        low, _, high = one.partition("-")
        if high and low > high:
            raise Refused(f'"{one}" goes backwards: write "{high}-{low}"')
    return ranges


def _header_name(name: str) -> str:
    if not re.fullmatch(_HEADER_NAME, name):
        raise ValueError('the name of a header, such as "X-Forwarded-Proto"')
    if why := _OURS.get(name.lower()):
        raise Refused(f"{name} cannot be set: {why}")
    return name


def _header_value(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"found {kind(value)}, expected text: put the value in quotes")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError("the value of a header: ASCII without line breaks, no spaces at either end")
    return value


def _expected(found: str) -> str:
    if not found or len(found.encode()) > 4096:
        raise ValueError("a text of 1 to 4096 bytes that the answer must hold")
    return found


Statuses = text(_STATUSES, _statuses)
Headers = Named(
    text("a name", _header_name, pattern=_HEADER_NAME),
    Value("text", {"type": "string"}, _header_value),
    'a table of headers, such as { X-Forwarded-Proto = "https" }',
)
Expected = text("a text that the answer must hold", _expected)
Paths = List(HealthPath, 'a list of paths, such as ["/", "/search"]')


class HealthConfig(Table):
    """When an instance is ready: after `successes` good answers in a row from the process that was started."""

    kind = key(
        choice("http", "tcp"),
        "`http`: a GET must be answered with one of the statuses of `status`; redirects are not followed. "
        "`tcp`: a connection is enough.",
        default="http",
    )
    path = key(HealthPath, "The path that an `http` check requests.", default="/", example="/up")
    host = optional(
        HostHeader,
        "The Host header of an `http` check, for an app that accepts certain hosts only. "
        "Without it: the address of the instance.",
        example="shop.example.com",
    )
    headers = key(
        Headers,
        "More headers of an `http` check, for an app that redirects what did not come by https, or asks for a key. "
        "They are kept in the journal.",
        default={},
        example={"X-Forwarded-Proto": "https"},
    )
    status = key(
        Statuses,
        "The statuses that are good: ranges and single ones, as `200,204,301-302`. An app that redirects all requests "
        "to https or to a login passes the default; `200-299` finds it out.",
        default="200-399",
        example="200-299",
    )
    expect = optional(
        Expected,
        "A text that the answer to an `http` check must hold, exactly as it is written here. The first 64 KB of the "
        "answer are searched.",
        example='"status":"up"',
    )
    command = optional(
        Command,
        "A shell command that is run instead of the request: exit status 0 is good. It runs in the directory of the "
        "version, with the environment and as the user of the instance, and is ended after 10 s. The instance must "
        "listen on its port all the same.",
        example="bin/healthy",
    )
    warm = key(
        Paths,
        "Paths that are requested once when the instance is ready, before it gets traffic: caches are then filled. "
        "Their answers are shown and decide nothing. All together have the time of `timeout`.",
        default=(),
        example=["/", "/search"],
    )
    timeout = key(
        PositiveDuration,
        "An instance that is not ready after this time has failed. Raise it if your app starts slowly.",
        default="30s",
    )
    interval = key(
        PositiveDuration,
        "The longest pause between two checks. The first ones follow each other sooner: a quick app is ready at once.",
        default="100ms",
    )
    successes = key(Count, "How many good answers in a row are needed.", default=2)

    def agree(self, written: Collection[str]) -> None:
        """A check must have a use for its keys, and be able to succeed."""
        problems = [*self._unused(written)]
        if (self.successes - 1) * self.interval >= self.timeout:
            problems.append("can never succeed: successes times interval is longer than timeout")
        if problems:
            raise Refused("; ".join(problems))

    def _unused(self, written: Collection[str]) -> list[str]:
        changed = [name for name in written if getattr(self, name) != self.keys[name].initial]
        if self.kind == "tcp":
            asked = [name for name in self.keys if name in changed and name in _OF_A_REQUEST]
            if asked:
                return [f'kind = "tcp" asks for nothing; remove {_listed(asked)}, or write kind = "http"']
        elif self.command:
            asked = [name for name in ("path", "status", "expect") if name in changed]
            if asked:
                return [f"command is run instead of a request; remove {_listed(asked)}, or command"]
        return []

    def resolved(self) -> Health:
        """It for the core."""
        return Health(
            kind=self.kind,
            path=self.path,
            host=self.host,
            timeout=self.timeout,
            interval=self.interval,
            successes=self.successes,
            headers=self.headers,
            status=self.status,
            expect=self.expect or "",
            command=self.command or "",
            warm=self.warm,
        )


class ProcessHealthConfig(Table):
    """When an instance of a process without a port counts as running."""

    command = optional(
        Command,
        "A shell command that is run until it ends with exit status 0, as that of [app.NAME.health] is. Without it, an "
        "instance must stay up for a second.",
        example="bin/worker-ready",
    )
    timeout = key(
        PositiveDuration, "An instance that does not run well after this time has failed.", default="30s"
    )


_OF_A_REQUEST = frozenset({"path", "host", "headers", "status", "expect", "warm"})


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
