"""What the file says that HAProxy was last started or reloaded from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.names import EARLIER, MAP, OF_LAST, WAIT
from substitute.core.model.slots import SlotName

if TYPE_CHECKING:
    from collections.abc import Iterator

Servers = dict[tuple[str, str], tuple[str, int]]
"""Address and weight of each server, by its backend's name and its own."""
SERVER = re.compile(r" +server (\S+) (\S+) weight (\d+)( backup| (?:check|track) .+)?")
"""The line of one."""
_APP = "backend app_"


def description(text: str) -> str:
    """The name of the file's structure."""
    found = re.search(r"^ +description (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def servers(text: str) -> Servers:
    """The servers of the apps."""
    return {
        (section, found[1]): (found[2], int(found[3]))
        for section, line in lines(text)
        if (found := SERVER.fullmatch(line))
    }


def checked(text: str) -> set[tuple[str, str]]:
    """Those of them that are looked at: in one backend of an app, and the others follow."""
    return {
        (section, found[1])
        for section, line in lines(text)
        if (found := SERVER.fullmatch(line)) and (found[4] or "").startswith(" check ")
    }


def shares(text: str, app: str) -> dict[SlotName, int]:
    """What each slot of `app` has, of new requests."""
    return _of_slots(text, f"app_{app}")


def spare(text: str, app: str) -> SlotName | None:
    """The slot of `app` that is asked first for an asset which the other does not have."""
    last = _of_slots(text, f"app_{app}{OF_LAST}")
    return next((slot.other for slot, weight in last.items() if weight), None)


def _of_slots(text: str, backend: str) -> dict[SlotName, int]:
    found = dict.fromkeys(SlotName, 0)
    for (section, name), (_, weight) in servers(text).items():
        if section == backend and name != WAIT:
            found[SlotName(name[0])] = max(found[SlotName(name[0])], weight)
    return found


def apps(text: str) -> set[str]:
    """Those that have a backend. No app's name has an underscore; those of its further backends do."""
    found = {line[len(_APP) :] for line in text.splitlines() if line.startswith(_APP)}
    return {name for name in found if "_" not in name}


def listen(text: str) -> str:
    """Where the front door is, or empty."""
    return next(iter(_binds(text, "front")), "")


def earlier(text: str) -> tuple[str, ...]:
    """Where it listens besides, since it was there before."""
    return tuple(_binds(text, EARLIER))


def hard_stop(text: str) -> int:
    """Seconds after which a worker of the first version, once replaced, ends, whatever it still does."""
    found = re.search(r"^ +hard-stop-after (\d+)s$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def leads_by_map(text: str) -> bool:
    """Whether domains can be changed at run time: not in a file of the first version."""
    return f"map({MAP})" in text


def _binds(text: str, wanted: str) -> Iterator[str]:
    for section, line in lines(text):
        words = line.split()
        if section == wanted and words[0] == "bind" and not words[1].startswith("unix@"):
            yield words[1]


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line with the name of the section that it stands in."""
    section = ""
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            section = line.partition(" ")[2]
        yield section, line
