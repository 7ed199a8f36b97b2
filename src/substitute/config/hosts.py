"""The types of [hosts]: groups, hosts as ssh takes them, batches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.config.literals import shown
from substitute.config.tables import List, Refused, Value
from substitute.config.values import text

if TYPE_CHECKING:
    from substitute.config.problems import Location
    from substitute.config.tables import Reader

ALL = "all"
"""The group of every host."""
_GROUP = r"[a-z][a-z0-9-]{0,31}"
_HOST = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])"
_DESTINATION = rf"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,63}}@)?(?P<name>{_HOST}(?::(?P<port>[0-9]{{1,5}}))?)"


def _group(name: str) -> str:
    if not re.fullmatch(_GROUP, name):
        raise ValueError("the name of a group, of a-z, 0-9 and -, beginning with a letter")
    if name == ALL:
        raise Refused("no group may be called all: `--hosts all` means the hosts of all groups")
    return name


def _destination(written: str) -> str:
    match = re.fullmatch(_DESTINATION, written)
    if not match or not 0 < int(match["port"] or 22) <= 65535:
        raise ValueError('a host as for ssh: "USER@HOST", "HOST" or "USER@HOST:PORT"')
    return written


def name_of(destination: str) -> str:
    """How a host is called: as it is written, without the user."""
    return destination.rpartition("@")[2]


def _host_name(written: str) -> str:
    if "@" in written:
        raise ValueError(f"the name of a host without its user: {shown(name_of(written))}")
    return _destination(written)


def _place(written: str) -> str:
    if not written.strip() or not written.isprintable() or written.startswith(("-", "~")):
        raise ValueError(
            'a path, absolute or relative to the home directory there, not beginning with "-" or "~"'
        )
    return written


class _Hosts(List[str]):
    """At least one host, and none twice."""

    def _value(self, written: object, at: Location, reader: Reader) -> tuple[str, ...]:
        found = super()._value(written, at, reader)
        if not found:
            raise Refused(f"an empty group; expected {self.words}")
        if twice := {one for one in found if one and found.count(one) > 1}:
            raise Refused(f"{shown(min(twice))} is listed twice")
        return found


def _batch(written: object) -> str:
    if type(written) is int and 1 <= written <= 1000:  # a bool is an int too
        return str(written)
    match = re.fullmatch(r"([0-9]{1,3})%|[1-9][0-9]{0,2}", written) if isinstance(written, str) else None
    if not match or (match[1] and not 1 <= int(match[1]) <= 100):
        raise ValueError('a number of hosts, or a part of them from "1%" to "100%"')
    return match[0]


def batch_size(batch: str, count: int) -> int:
    """How many of `count` hosts are one batch."""
    part = count * int(batch[:-1]) // 100 if batch.endswith("%") else int(batch)
    return max(1, min(part, count))


GroupName = text("a name", _group, pattern=_GROUP)
Hosts = _Hosts(
    text("text in quotes", _destination), 'a list of hosts, such as ["deploy@web1", "deploy@web2"]'
)
HostName = text("the name of a host", _host_name)
PlaceThere = text("a path on the hosts", _place)
Batch = Value(
    'a number of hosts, or a part of them, such as "25%"',
    {
        "anyOf": [
            {"minimum": 1, "type": "integer"},
            {"pattern": "^([0-9]{1,3}%|[1-9][0-9]{0,2})$", "type": "string"},
        ]
    },
    _batch,
)
