"""Transient scopes: a program that is no service, and all that it starts, kept within limits."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.polling import wait_until, wait_while
from substitute.runtimes.systemd.bus import Refused, Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.programs import BuildLimits, Process
    from substitute.runtimes.systemd.bus import Bus

_TICK = 0.002
_PATIENCE = 10.0
_GRACE = 2_000_000
"""Microseconds between SIGTERM and SIGKILL."""
_TOP = "-.slice"
"""Beside the machine's own slices: in the root's, a weight would count only against the root's other programs, and a
build could take half of the processors from a database in another slice."""
_UP = ["active", "activating", "deactivating"]
_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "cpu": ("cpu.max", "cpu.cfs_quota_us")}
"""What the kernel has in a group that it keeps within such a limit: with cgroup v2, and with v1."""
_HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu")


def confine(bus: Bus, scope: str, process: Process, limits: BuildLimits) -> None:
    """Put `process` into `scope`, and return when it is there.

    Weights are a favour, which a user's manager may be unable to do; a limit is a promise. Raises RuntimeFailedError
    where one cannot be kept.
    """
    try:
        bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", scope, "fail", [*_properties(process, limits)], [])
        wait_until(lambda: bus.property(scope, "Unit", "Job")[0] == 0, _PATIENCE, _TICK)
        there = bus.property(scope, "Unit", "ActiveState") == "active"
        group = bus.property(scope, "Scope", "ControlGroup") if there else ""
        why = "systemd could not put the build into a scope of its own."
    except (Silent, Refused) as error:
        there, group, why = False, "", error.reason
    for name, wanted in {"memory": limits.memory, "cpu": limits.cpu}.items():
        if wanted is None or (there and _is_limited(group, name)):
            continue
        raise RuntimeFailedError(
            f"build_limits.{name} cannot be kept here.",
            fact=f"The kernel does not limit {name} in {group}: that is not delegated to this user."
            if there
            else why,
            cure=f"Remove build_limits.{name}, or deploy as root.",
        )


def end_scopes(bus: Bus, pattern: str) -> None:
    """End all that is left in the scopes which `pattern` names: SIGTERM, and SIGKILL 2 s later."""

    def left() -> list[str]:
        return [unit for unit, *_ in bus.call("ListUnitsByPatterns", "asas", _UP, [pattern])]

    for scope in left():
        with suppress(Refused):  # it ended by itself in this moment
            bus.call("StopUnit", "ss", scope, "replace")
    if there := wait_while(left, _PATIENCE, _TICK):
        raise RuntimeFailedError(f"What a build has left cannot be ended: it is in {there[0]}.")


def _properties(process: Process, limits: BuildLimits) -> Iterator[tuple[str, tuple[str, object]]]:
    yield "PIDs", ("au", [process.pid])
    yield "Description", ("s", "a build of substitute's")
    yield "Slice", ("s", _TOP)
    yield "CollectMode", ("s", "inactive-or-failed")
    yield "TimeoutStopUSec", ("t", _GRACE)
    yield "CPUWeight", ("t", limits.cpu_weight)
    yield "IOWeight", ("t", limits.io_weight)
    if limits.memory is not None:
        yield "MemoryMax", ("t", limits.memory)
        yield "MemorySwapMax", ("t", 0)
    if limits.cpu is not None:
        yield "CPUQuotaPerSecUSec", ("t", round(limits.cpu * 1_000_000))


def _is_limited(group: str, name: str) -> bool:
    files = _FILES[name]
    return any(Path(f"{mounted}{group}", file).exists() for mounted in _HIERARCHIES for file in files)
