"""The types of the keys: what is accepted, what it becomes, and how a message calls it.

A validator raises ValueError with words that complete "expected …", or Refused with a sentence that
stands alone.
"""

# Not `from __future__ import annotations`: pydantic reads these annotations at run time.

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from substitute.config.addresses import (
    parse_domain,
    parse_host,
    parse_host_header,
    parse_listen,
    parse_network,
)
from substitute.config.durations import EXAMPLES, FORM, format_duration, parse_duration


class Refused(ValueError):  # noqa: N818  not an error by itself: a reason that pydantic carries
    """A sentence that says all, where "found …, expected …" would not."""


@dataclass(frozen=True)
class Expected:
    """Metadata of a type: what a message and the documentation call it."""

    words: str


def _span(shortest: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        seconds = parse_duration(value)
        if seconds < shortest:
            raise ValueError(f"at least {format_duration(shortest)}")
        return seconds

    return parse


_DURATION_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": f"^{FORM}$"}, {"type": "number", "minimum": 0}]}
)

Duration = Annotated[
    float, BeforeValidator(parse_duration), _DURATION_SCHEMA, Expected(f"a duration: {EXAMPLES}")
]
"""Seconds, 0 included."""
PositiveDuration = Annotated[
    float, BeforeValidator(_span(0.01)), _DURATION_SCHEMA, Expected(f"a duration: {EXAMPLES}")
]
"""Seconds, at least 0.01."""


def _command(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("a shell command, not empty and without NUL")
    return text


def _argument(what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not text.strip() or not text.isprintable():
            raise ValueError(f"{what}, not empty and without control characters")
        if text.startswith("-"):
            raise ValueError(f'{what}; it may not begin with "-"')
        return text

    return check


def _branch(text: str) -> str:
    # The rules of `git check-ref-format`, as far as they can do harm on a command line.
    if re.search(r"[\s~^:?*\[\\]|\.\.|@\{|^/|/$|//", _argument("a branch")(text)):
        raise ValueError("the name of a branch")
    return text


def _file(text: str) -> str:
    if _argument("a path")(text).endswith("/"):
        raise ValueError("the path of a file")
    return text


def _url(text: str) -> str:
    match = re.fullmatch(r"https?://(?P<place>[^/?#\s@]+)/*", text)
    if not match:
        raise ValueError('a URL without a path, such as "http://127.0.0.1:8080"')
    parse_host_header(match["place"])
    return text.rstrip("/")


def _user(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}\$?", text):
        raise ValueError("the name of a user")
    return text


def parse_memory(text: str) -> int:
    """Turn ``"512M"`` into bytes. Raises ValueError with what was expected."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([KMGT])", text)
    if not match:
        raise ValueError('an amount of memory, such as "512M" or "2G"')
    return int(match[1]) << 10 * ("KMGT".index(match[2]) + 1)


def _memory(text: str) -> str:
    if parse_memory(text) < 1 << 20:
        raise ValueError('an amount of memory from "1M"')
    return text


def parse_processors(text: str) -> float:
    """Turn ``"150%"`` into 1.5. Raises ValueError with what was expected."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})%", text)
    if not match:
        raise ValueError('percent of one processor, such as "150%"')
    return int(match[1]) / 100


def _processors(text: str) -> str:
    parse_processors(text)
    return text


def _binary(text: str) -> str:
    if not Path(_argument("a program")(text)).is_absolute() and "/" in text:
        raise ValueError("an absolute path, or the name of a program on PATH")
    return text


Command = Annotated[StrictStr, AfterValidator(_command), Expected("a shell command in quotes")]
Commands = Annotated[
    tuple[Command, ...], Expected('a list of shell commands, such as ["npm ci", "npm run build"]')
]
Repository = Annotated[
    StrictStr, AfterValidator(_argument("a repository")), Expected("a URL or path that git can clone")
]
Branch = Annotated[StrictStr, AfterValidator(_branch), Expected("the name of a branch")]
File = Annotated[StrictStr, AfterValidator(_file), Expected("a path, absolute or relative to the root")]
Url = Annotated[StrictStr, AfterValidator(_url), Expected('a URL, such as "http://127.0.0.1:8080"')]
Binary = Annotated[StrictStr, AfterValidator(_binary), Expected("an absolute path, or a name on PATH")]
User = Annotated[StrictStr, AfterValidator(_user), Expected("the name of a user")]
Memory = Annotated[
    StrictStr, AfterValidator(_memory), Expected('an amount of memory, such as "512M" or "2G"')
]
Processors = Annotated[
    StrictStr, AfterValidator(_processors), Expected('percent of one processor, such as "150%"')
]


def _ports(value: object) -> tuple[int, int]:
    ports = [port for port in value if _is_port(port)] if isinstance(value, (list, tuple)) else []
    if len(ports) != 2 or value not in (ports, tuple(ports)):
        raise ValueError("two ports from 1 to 65535, slot a's and slot b's, such as [3001, 3002]")
    if ports[0] == ports[1]:
        raise ValueError("two different ports: both slots run at once during a deployment")
    return ports[0], ports[1]


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535  # a bool is an int too


Ports = Annotated[
    tuple[int, int],
    PlainValidator(_ports),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 65535},
            "minItems": 2,
            "maxItems": 2,
            "uniqueItems": True,
        }
    ),
    Expected("two ports, slot a's and slot b's, such as [3001, 3002]"),
]


def _between(low: int, high: int) -> AfterValidator:
    def check(number: int) -> int:
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return AfterValidator(check)


Switch = Annotated[StrictBool, Expected("true or false")]
Percent = Annotated[
    StrictInt,
    _between(1, 99),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 99}),
    Expected("a whole number from 1 to 99"),
]
Count = Annotated[
    StrictInt,
    _between(1, 1000),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1000}),
    Expected("a whole number from 1 to 1000"),
]
Many = Annotated[
    StrictInt,
    _between(1, 1 << 20),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1 << 20}),
    Expected(f"a whole number from 1 to {1 << 20}"),
]


def _health_path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise ValueError('a path that begins with "/", ASCII without spaces and without "#"')
    return text


HealthPath = Annotated[StrictStr, AfterValidator(_health_path), Expected('a path, such as "/up"')]
Host = Annotated[StrictStr, AfterValidator(parse_host), Expected("an IP address or a host name")]
HostHeader = Annotated[
    StrictStr, AfterValidator(parse_host_header), Expected('a host, such as "shop.example.com"')
]
Listen = Annotated[StrictStr, AfterValidator(parse_listen), Expected('"HOST:PORT"')]
Domain = Annotated[StrictStr, AfterValidator(parse_domain)]
Domains = Annotated[tuple[Domain, ...], Expected('a list of domains, such as ["shop.example.com"]')]
Network = Annotated[StrictStr, AfterValidator(parse_network)]
Networks = Annotated[
    tuple[Network, ...], Expected('a list of addresses and networks, such as ["10.0.0.0/8"]')
]
