"""A build is kept from what the live version needs: by niceness everywhere, by a scope where there is systemd."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import BuildLimits, Process
from substitute.linux.subprocesses import Shell
from tests.contracts.test_runtime import Place
from tests.machines import USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports.commands import Finished

SYSTEMD = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("systemd", marks=pytest.mark.machine),
        pytest.param("systemd-user", marks=pytest.mark.machine(user=USER)),
    ],
)
LEAVES = "setsid sleep 569 >/dev/null 2>&1 & echo $!"
"""What it leaves in the background leaves its process group, too."""


@pytest.fixture
def kind() -> str:
    return "systemd"


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(kind, tmp_path / "deploy" / "run")
    yield made
    made.runtime.end_builds("shop")
    made.close()


def built(place: Place, script: str, limits: BuildLimits, lines: list[str]) -> Finished:
    """Run `script` as a build."""

    def confine(process: Process) -> None:
        place.runtime.confine_build("shop", process, limits)

    return Shell().run(
        ["/bin/sh", "-c", script],
        directory=place.run,
        environment={"PATH": os.environ["PATH"]},
        on_line=lines.append,
        on_start=confine,
        timeout=60,
        nice=limits.nice,
    )


def scope(place: Place, number: str = "$$") -> str:
    """A command is the shell that the gate becomes."""
    return place.runtime._names.scope("shop", number)  # type: ignore[attr-defined, no-any-return]


def test_a_build_is_less_urgent_than_who_deploys_in_its_session_too(tmp_path: Path) -> None:
    own, lines = os.getpriority(os.PRIO_PROCESS, 0), list[str]()
    autogroup = Path("/proc/self/autogroup")
    Shell().run(
        ["/bin/sh", "-c", "nice; sed 's/.* //' /proc/self/autogroup 2>/dev/null || true"],
        directory=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        on_line=lines.append,
        on_start=lambda _: None,
        nice=7,
    )
    assert set(lines) == {str(min(19, own + 7))}
    assert len(lines) == 1 + autogroup.exists()


@SYSTEMD
def test_all_of_a_build_is_in_a_scope_of_low_weight_and_ends_with_it(place: Place, kind: str) -> None:
    lines: list[str] = []
    manager = "--user" if kind.endswith("user") else "--system"
    shown = f"systemctl {manager} show {scope(place)} -P CPUWeight -P IOWeight -P Slice"
    script = f"{LEAVES}; cat /proc/self/cgroup; {shown}"
    if kind.endswith("user"):  # the environment of a build has no more than it needs
        script = f"export XDG_RUNTIME_DIR=/run/user/{os.getuid()}; {script}"
    assert built(place, script, BuildLimits(), lines).status == 0
    left, *rest = lines
    ours = scope(place, "")[: -len(".scope")]
    assert any(ours in line for line in rest), "\n".join(rest)
    assert sorted(rest[-3:]) == ["-.slice", "20", "20"]
    assert Path(f"/proc/{left}").exists()
    place.runtime.end_builds("shop")
    eventually(lambda: not Path(f"/proc/{left}/cwd").exists(), "what it left has ended")
    place.runtime.end_builds("shop")  # nothing is there any more

    lines.clear()
    built(place, "cat /proc/self/cgroup", BuildLimits(10, 100, 100), lines)
    assert not any(ours in line for line in lines)


@pytest.mark.machine
def test_what_a_command_of_a_build_leaves_is_there_for_the_next_one_and_not_for_another_apps(
    place: Place,
) -> None:
    lines: list[str] = []
    built(place, LEAVES, BuildLimits(), lines)
    built(place, "true", BuildLimits(), lines)
    place.runtime.end_builds("sho")
    assert Path(f"/proc/{lines[0]}/cwd").exists()


@pytest.mark.machine
def test_a_build_past_its_memory_is_killed(place: Place) -> None:
    hungry = f"{sys.executable} -S -E -c 'x = b\"1\" * (200 << 20)'"
    assert built(place, hungry, BuildLimits(memory=512 << 20), []).status == 0
    assert built(place, hungry, BuildLimits(memory=64 << 20), []).status in {-9, 137}


@pytest.mark.machine
def test_a_build_gets_no_more_of_the_processors_than_it_may(place: Place) -> None:
    lines: list[str] = []
    shown = f"systemctl show {scope(place)} -P CPUQuotaPerSecUSec -P MemoryMax"
    built(place, shown, BuildLimits(cpu=0.5, memory=64 << 20), lines)
    assert lines == ["500ms", str(64 << 20)]


@pytest.mark.machine(unified=True)
def test_a_limit_that_the_kernel_does_not_keep_is_refused_and_a_weight_is_not(place: Place) -> None:
    """This machine has cgroup v2 without controllers."""
    with pytest.raises(RuntimeFailedError, match=r"build_limits\.memory cannot be kept here"):
        built(place, "true", BuildLimits(memory=64 << 20), [])
    assert built(place, "true", BuildLimits(), []).status == 0


@pytest.mark.machine
def test_a_build_that_systemd_knows_nothing_of_may_have_weights_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.runtime._bus, "_address", "/nowhere")  # type: ignore[attr-defined]
    monkeypatch.setattr(place.runtime._bus, "_patience", 0.0)  # type: ignore[attr-defined]
    process = Process(1, 1, "boot")
    place.runtime.confine_build("shop", process, BuildLimits())
    with pytest.raises(RuntimeFailedError, match=r"build_limits\.cpu cannot be kept here"):
        place.runtime.confine_build("shop", process, BuildLimits(cpu=1.0))
    monkeypatch.undo()
