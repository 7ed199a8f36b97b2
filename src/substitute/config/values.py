"""The types of the keys: what is accepted, what it becomes, and how a message calls it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.config.addresses import (
    parse_domain,
    parse_host,
    parse_host_header,
    parse_listen,
    parse_network,
)
from substitute.config.durations import EXAMPLES, FOREVER, FORM, format_duration, parse_duration
from substitute.config.problems import Problem
from substitute.config.tables import List, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.config.problems import Location
    from substitute.config.tables import Reader


def text(words: str, check: Callable[[str], str], *, pattern: str | None = None) -> Value[str]:
    """Text that `check` takes; what it returns is the value."""
    schema = {"type": "string"} | ({"pattern": f"^{pattern}$"} if pattern else {})

    def parse(written: object) -> str:
        if not isinstance(written, str):
            raise ValueError(words)
        return check(written)

    return Value(words, schema, parse)


def choice(*names: str) -> Value[str]:
    """One of these."""
    quoted = [f'"{name}"' for name in names]

    def parse(written: object) -> str:
        if not isinstance(written, str) or written not in names:
            raise ValueError(f"{', '.join(quoted[:-1])} or {quoted[-1]}")
        return written

    return Value(", ".join(f"`{one}`" for one in quoted), {"enum": list(names), "type": "string"}, parse)


def _span(shortest: float) -> Value[float]:
    def parse(written: object) -> float:
        seconds = parse_duration(written)
        if seconds < shortest:
            raise ValueError(f"at least {format_duration(shortest)}")
        return seconds

    schema = {"anyOf": [{"pattern": f"^{FORM}$", "type": "string"}, {"minimum": 0, "type": "number"}]}
    return Value(f"a duration: {EXAMPLES}", schema, parse)


Duration = _span(0)
"""Seconds, 0 included."""


def _duration_or_forever(written: object) -> float:
    try:
        return math.inf if written == FOREVER else parse_duration(written)
    except ValueError as error:
        raise ValueError(f'{error}; or "{FOREVER}"') from error


DurationOrForever = Value(
    f'a duration: {EXAMPLES}; or "{FOREVER}"',
    {"anyOf": [{"const": FOREVER}, *Duration.schema["anyOf"]]},
    _duration_or_forever,
)
"""Seconds; infinity for ever."""
PositiveDuration = _span(0.01)
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


def _inside(text: str) -> str:
    """A path in the repository, without what means nothing in one; the top is empty."""
    words = 'a path in the repository, such as "apps/web", without ".."'
    parts = [part for part in _argument(words)(text).split("/") if part != "."]
    if text.startswith("/") or {"..", ".git"} & set(parts):
        raise ValueError(words)
    return "/".join(filter(None, parts))


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


def _times(text: str) -> str:
    from substitute.core.model.timetable import fields_of  # noqa: PLC0415  # slow to import, and few need it

    fields_of(text)
    return text


def _zone(text: str) -> str:
    from substitute.io.zones import UnknownZoneError, zone  # noqa: PLC0415  # few need it

    try:
        zone(_argument("a time zone")(text))
    except UnknownZoneError:
        raise ValueError(
            'a time zone that this machine knows, such as "Europe/Berlin" (they come with the package tzdata)'
        ) from None
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


Command = text("a shell command in quotes", _command)
Commands = List(
    text("text in quotes", _command), 'a list of shell commands, such as ["npm ci", "npm run build"]'
)
Repository = text("a URL or path that git can clone", _argument("a repository"))
Branch = text("the name of a branch", _branch)
File = text("a path, absolute or relative to the root", _file)
Inside = text('a path in the repository, such as "apps/web"', _inside)


def _image(text: str) -> str:
    """A repository, with a tag if there is one; ``{commit}`` may stand for a part of that."""
    name = _argument("the name of an image")(text).replace("{commit}", "0")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._:/-]*/?[a-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", name):
        raise ValueError('the name of an image, such as "registry.example.com/shop"')
    return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("a line of text")
    return text


def _kubernetes_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError("a name of a-z, 0-9 and -, of at most 63 characters")
    return text


Line = text("a line of text", _line)
KubernetesName = text("a name of a-z, 0-9 and -", _kubernetes_name)
Machines = List(
    text("text in quotes", _kubernetes_name), 'a list of names of machines, such as ["edge1", "edge2"]'
)
ImageName = text('the name of an image, such as "registry.example.com/shop"', _image)
Watched = List(
    text("text in quotes", _inside), 'a list of paths in the repository, such as ["apps/web", "packages"]'
)
Url = text('a URL, such as "http://127.0.0.1:8080"', _url)
Binary = text("an absolute path, or a name on PATH", _binary)
User = text("the name of a user", _user)
Memory = text('an amount of memory, such as "512M" or "2G"', _memory)
Times = text('five fields, such as "30 6 * * 1-5", or @hourly, @daily, @weekly, @monthly, @yearly', _times)
Zone = text('a time zone, such as "Europe/Berlin"', _zone)
Processors = text('percent of one processor, such as "150%"', _processors)


def _ports(value: object) -> tuple[int, int]:
    ports = [port for port in value if _is_port(port)] if isinstance(value, (list, tuple)) else []
    if len(ports) != 2 or value not in (ports, tuple(ports)):
        raise ValueError("two ports from 1 to 65535, slot a's and slot b's, such as [3001, 3002]")
    if ports[0] == ports[1]:
        raise ValueError("two different ports: both slots run at once during a deployment")
    return ports[0], ports[1]


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535  # a bool is an int too


_PORT = {"maximum": 65535, "minimum": 1, "type": "integer"}
Ports = Value(
    "two ports, slot a's and slot b's, such as [3001, 3002]",
    {"items": _PORT, "maxItems": 2, "minItems": 2, "type": "array", "uniqueItems": True},
    _ports,
)


def _whole(low: int, high: int) -> Value[int]:
    words = f"a whole number from {low} to {high}"

    def parse(written: object) -> int:
        if type(written) is not int or not low <= written <= high:  # a bool is an int too
            raise ValueError(words)
        return written

    return Value(words, {"maximum": high, "minimum": low, "type": "integer"}, parse)


_STEP = 'a share from 1% to 99% and a time, such as "5% 2m"'


def parse_step(text: str) -> tuple[int, float]:
    """Turn ``"5% 2m"`` into 5 percent and 120 seconds. Raises ValueError with what was expected."""
    match = re.fullmatch(r"([1-9][0-9]?)% +(\S+)", text)
    if not match:
        raise ValueError(_STEP)
    return int(match[1]), parse_duration(match[2])


def _step(text: str) -> str:
    parse_step(text)
    return text


Steps = List(
    text(_STEP, _step, pattern=rf"[1-9][0-9]?% +({FORM})"),
    'a list of shares and times, such as ["5% 2m", "25% 5m"]',
)


def _rate(written: object) -> str:
    if not isinstance(written, str) or not re.fullmatch(r"([1-9][0-9]{0,3}/s)?", written):
        raise ValueError('requests a second, such as "50/s"')
    return written


Rate = Value(
    'requests a second, such as "50/s"', {"type": "string", "pattern": "^([1-9][0-9]{0,3}/s)?$"}, _rate
)


def _switch(written: object) -> bool:
    if not isinstance(written, bool):
        raise ValueError("true or false")
    return written


Switch = Value("true or false", {"type": "boolean"}, _switch)
Percent = _whole(1, 100)
Count = _whole(1, 1000)
"""Good answers in a row, of a health check."""
Pages = _whole(0, 1000)
"""What `replay` asks for; 0: nothing."""
Instances = _whole(1, 64)
InstancesOrNone = _whole(0, 64)
Many = _whole(1, 1 << 20)
"""Processes, threads and open files, in `limits`."""
ContainerPort = _whole(1, 65535)
Niceness = _whole(0, 19)
Weight = _whole(1, 10000)
"""As systemd has it for processors and disks, in `build_limits`."""
Releases = _whole(2, 1000)


def _health_path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise ValueError('a path that begins with "/", ASCII without spaces and without "#"')
    return text


HealthPath = text('a path, such as "/up"', _health_path)
Host = text("an IP address or a host name", parse_host)
Nodes = List(text("text in quotes", parse_host), 'a list of addresses, such as ["10.0.0.11", "10.0.0.12"]')
HostHeader = text('a host, such as "shop.example.com"', parse_host_header)
Listen = text('"HOST:PORT"', parse_listen)
Domains = List(text("text in quotes", parse_domain), 'a list of domains, such as ["shop.example.com"]')
Networks = List(
    text("text in quotes", parse_network), 'a list of addresses and networks, such as ["10.0.0.0/8"]'
)


_LONGEST_PATH = 1000
"""Characters that a line of HAProxy's file has room for."""


def _assets(text: str) -> str:
    """A path with a ``/`` at both ends, of what a path holds unescaped; not all of the app."""
    if not re.fullmatch(r"/([A-Za-z0-9._~@+%-]+/)+", text) or len(text) > _LONGEST_PATH:
        raise ValueError('a path with "/" at both ends, such as "/assets/": not the whole app, and no query')
    return text


AssetPaths = List(text("text in quotes", _assets), 'a list of paths, such as ["/assets/"]')


def _shared(text: str) -> str:
    """A path below the slot, without ``.`` and doubled slashes; one at its end stays."""
    _argument("a path in the slot")(text)
    names = [name for name in text.split("/") if name not in {"", "."}]
    if text.startswith(("/", "~")) or ".." in names:
        raise ValueError('a path below the slot, such as "media": not absolute, and without ".."')
    if not names:
        raise ValueError('a path below the slot, such as "media": the slot itself cannot be shared')
    if ".git" in names:
        raise ValueError("a path that is not in .git, which each slot has of its own")
    return "/".join(names) + ("/" if text.endswith("/") else "")


class _SharedPaths(List[str]):
    """Paths of which none is another one, or lies below it."""

    def _value(self, written: object, at: Location, reader: Reader) -> tuple[str, ...]:
        paths = super()._value(written, at, reader)
        for place, path in enumerate(paths):
            for before, other in enumerate(paths[:place]):
                if not path or not other:  # that is told already
                    continue
                inner, outer = sorted(
                    (f"{path.rstrip('/')}/", f"{other.rstrip('/')}/"), key=len, reverse=True
                )
                if inner.startswith(outer):
                    how = "is listed twice" if inner == outer else f'and "{other}": one lies in the other'
                    sentence = f'"{path}" {how}'
                    reader.problems.append(Problem((*at, place), sentence, clash=(*at, before)))
        return paths


SharedPaths = _SharedPaths(
    text("text in quotes", _shared), 'a list of paths in the slot, such as ["media", "db.sqlite3"]'
)
