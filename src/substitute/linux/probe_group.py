"""What marks a probe: the gate lets its connections through, by their mark or by the group of the program.

Only who opens a socket can set its mark, and the command of a health check knows nothing of marks.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from substitute.linux.users import Account

PROBE_MARK = 0x53554253
"""The socket mark of a probe: the gate lets it through to an instance that gets no traffic yet."""
PROBE_GROUP = 60953
"""Nobody's: systemd lists the numbers from 60706 to 61183 as unused, and a container of 65536 users has it, too."""
_NEEDED = (1 << 6) | (1 << 12)
"""CAP_SETGID, and CAP_NET_ADMIN: who cannot change the packet filter has no gate to pass."""


def as_probe(become: Account | None) -> dict[str, Any]:
    """The arguments by which `subprocess.Popen` runs a program as `become`, and in the group of probes.

    Its other groups stay, so that it may read what it could read before. Without the privilege, `become` alone.
    """
    found = become.popen() if become else {}
    if not _may_change():
        return found
    groups = {found.get("group", os.getegid()), *found.get("extra_groups", os.getgroups())}
    return {**found, "group": PROBE_GROUP, "extra_groups": sorted(groups)}


@cache
def _may_change() -> bool:
    """Whether this process may become a member: it has the privilege, and its user namespace the number."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        ranges = Path("/proc/self/gid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    mapped = [(int(first), int(count)) for first, _, count in map(str.split, ranges)]
    return effective & _NEEDED == _NEEDED and any(
        first <= PROBE_GROUP < first + count for first, count in mapped
    )
