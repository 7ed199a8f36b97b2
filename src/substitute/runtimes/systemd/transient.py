"""Transient units: what systemd keeps until it ends, and what runs already and is put within limits."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.polling import wait_until, wait_while
from substitute.runtimes.systemd.bus import Refused, Silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from substitute.core.model.programs import BuildLimits, Limits, Process
    from substitute.runtimes.systemd.bus import Bus
    from substitute.runtimes.systemd.units import Names

    Property = tuple[str, tuple[str, object]]

_TICK = 0.002
_PATIENCE = 10.0
_GRACE = 2_000_000
"""Microseconds between SIGTERM and SIGKILL."""
_TOP = "-.slice"
"""Beside the machine's own slices: in the root's, a weight would count only against the root's other programs, and a
build could take half of the processors from a database in another slice."""
_UP = ["active", "activating", "deactivating"]
_RUNS = frozenset({"active", "reloading"})
_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "cpu": ("cpu.max", "cpu.cfs_quota_us")}
"""What the kernel has in a group that it keeps within such a limit: with cgroup v2, and with v1."""
_HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu")


def start(bus: Bus, unit: str, names: Names, name: str, properties: Sequence[Property]) -> None:
    """Have systemd make `unit` of `properties` for `name`, in the root's slice. Raises RuntimeFailedError."""
    described: list[Property] = [
        ("Description", ("s", f"substitute: {name} of {names.root}")),
        ("Slice", ("s", names.slice)),
        ("CollectMode", ("s", "inactive-or-failed")),
        ("IgnoreOnIsolate", ("b", True)),
        *properties,
    ]
    try:
        bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", described, [])
    except Refused as refused:
        if not bus.property(unit, "Unit", "Transient"):  # else it was asked for twice, see `Bus`
            raise RuntimeFailedError(f"{unit} cannot be started.", fact=refused.fact) from refused


def once(
    argv: Sequence[str], *, directory: Path, environment: Mapping[str, str], stop_timeout: float
) -> list[Property]:
    """What a service is made of that runs once, and has `stop_timeout` seconds from SIGTERM on, or ends at once."""
    return [
        ("WorkingDirectory", ("s", str(directory))),
        ("Environment", ("as", [f"{key}={value}" for key, value in environment.items()])),
        ("KillSignal", ("i", SIGTERM if stop_timeout else SIGKILL)),
        *([("TimeoutStopUSec", ("t", round(stop_timeout * 1e6)))] if stop_timeout else []),
        ("ExecStart", ("a(sasb)", [(argv[0], list(argv), False)])),
    ]


def confine(bus: Bus, names: Names, name: str, process: Process, limits: Sequence[Property]) -> None:
    """Put `process`, which runs already, into a scope within `limits`. Raises RuntimeFailedError."""
    scope = f"{names.prefix}-{name}.scope"
    start(bus, scope, names, name, [("PIDs", ("au", [process.pid])), *limits])
    if not wait_until(lambda: bus.property(scope, "Unit", "ActiveState") in _RUNS, _PATIENCE, _TICK):
        raise RuntimeFailedError(f"{scope} does not come up.")


def limit_properties(limits: Limits) -> list[Property]:
    """What keeps a unit within `limits`, as far as that is its control group's to do."""
    found: list[Property] = []
    if limits.memory is not None:
        found += [("MemoryMax", ("t", limits.memory)), ("MemorySwapMax", ("t", 0))]
    if limits.cpu is not None:
        found.append(("CPUQuotaPerSecUSec", ("t", round(limits.cpu * 1e6))))
    if limits.tasks is not None:
        found.append(("TasksMax", ("t", limits.tasks)))
    return found


def confine_build(bus: Bus, scope: str, process: Process, limits: BuildLimits) -> None:
    """Put `process`, a build that has not begun, into `scope`, and return when it is there.

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


def _properties(process: Process, limits: BuildLimits) -> Iterator[Property]:
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
