"""Which runtime a root gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import substitute.linux.init_system as machine_module
from substitute.core.model.errors import ConfigError
from substitute.linux.init_system import Machine, run_directory
from substitute.runtimes.choice import Choice, choose

if TYPE_CHECKING:
    from pathlib import Path

ROOT = Machine(systemd=True, root=True, manager=True, lingers=True, crontab=True)
PERSON = replace(ROOT, root=False)
PASSING = replace(PERSON, lingers=False)
CONTAINER = Machine(systemd=False, root=True, manager=False, lingers=True, crontab=False)


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (ROOT, "systemd"),
        (PERSON, "systemd"),
        (replace(PERSON, manager=False), "supervisord"),
        (CONTAINER, "supervisord"),
    ],
)
def test_auto_is_systemd_where_it_keeps_what_it_runs(machine: Machine, kind: str) -> None:
    assert choose("auto", machine) == Choice(kind)


def test_where_only_lingering_is_missing_the_command_is_told() -> None:
    assert choose("auto", PASSING) == Choice("supervisord", "systemd would need `loginctl enable-linger`")


def test_what_was_asked_for_is_taken() -> None:
    assert choose("supervisord", ROOT) == Choice("supervisord")
    assert choose("systemd", PERSON) == Choice("systemd")


@pytest.mark.parametrize(
    ("machine", "reason", "cure"),
    [
        (CONTAINER, "not the init", "supervisord"),
        (replace(PERSON, manager=False), "This user has no systemd of their own", "supervisord"),
        (PASSING, "log out", "loginctl enable-linger"),
    ],
)
def test_a_systemd_that_is_not_there_is_refused_with_the_reason(
    machine: Machine, reason: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as told:
        choose("systemd", machine)
    assert reason in told.value.reason
    assert cure in told.value.cure


@pytest.mark.parametrize("machine", [replace(PERSON, manager=False), CONTAINER])
@pytest.mark.parametrize(("configured", "runs"), [("auto", False), ("auto", True), ("supervisord", True)])
def test_no_other_runtime_is_chosen_beside_a_systemd_that_keeps_the_root_and_is_out_of_reach(
    machine: Machine, configured: str, *, runs: bool
) -> None:
    with pytest.raises(ConfigError, match="systemd runs the apps of this root directory") as told:
        choose(configured, machine, keeper="systemd", runs=runs)
    assert ("supervisord" in told.value.cure) is not runs


def test_a_root_leaves_a_systemd_that_is_gone_where_that_is_asked_for() -> None:
    assert choose("supervisord", CONTAINER, keeper="systemd") == Choice("supervisord")


def test_a_root_leaves_a_systemd_that_can_be_reached() -> None:
    assert choose("supervisord", PERSON, keeper="systemd", runs=True) == Choice("supervisord")
    assert choose("auto", PASSING, keeper="systemd", runs=True).kind == "supervisord"


def test_the_directory_of_a_user_counts_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`su` hands on the directory of who typed it."""
    monkeypatch.setattr(
        machine_module, "Path", lambda *parts: tmp_path.joinpath(*(p.lstrip("/") for p in parts))
    )
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/of-another")
    assert run_directory(4242) == tmp_path / "run/of-another"
    own = tmp_path / "run/user/4242"
    own.mkdir(parents=True)
    assert run_directory(4242) == own
