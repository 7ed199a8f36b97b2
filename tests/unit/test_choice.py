"""Which runtime a root gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from substitute.core.errors import ConfigError
from substitute.machine import Machine
from substitute.runtimes.choice import Choice, choose

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
        (replace(PERSON, manager=False), "No systemd of this user's", "supervisord"),
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
