"""What is written down for the next boot."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from substitute.autostart import crontab, starter, unit
from substitute.autostart.command import Command
from substitute.core.model.errors import UsageError
from substitute.io.digest import sha256
from substitute.linux.init_system import Machine
from substitute.linux.root_names import prefix_of, root_hash

COMMAND = Command(
    ("/opt/py 3/bin/python", "-m", "substitute"), Path("/srv/50%/sh$op"), "deployer", "/opt/bin:/bin"
)
HERE = Machine(systemd=True, root=True, manager=True, lingers=True, crontab=True)
LINGERING = replace(HERE, root=False)
PASSING = replace(LINGERING, lingers=False)
NOTHING = Machine(systemd=False, root=True, manager=False, lingers=True, crontab=False)


def test_a_roots_names_come_from_the_bytes_of_its_path() -> None:
    shop, other = (Path(os.fsdecode(b"/srv/shop-" + byte)) for byte in (b"\xfe", b"\xff"))
    assert prefix_of(shop) == f"substitute-{root_hash(shop)}"
    assert root_hash(shop) != root_hash(other)
    assert root_hash(Path("/srv/café")) == sha256("/srv/café".encode())[:8]


def test_a_unit_carries_spaces_dollars_and_percents() -> None:
    text = unit.render(COMMAND, by_user=False, version=252)
    assert 'ExecStart=:"/opt/py 3/bin/python" "-m" "substitute" "-C" "/srv/50%%/sh$op" "up"\n' in text
    assert 'Environment="PATH=/opt/bin:/bin"\n' in text
    assert "User=deployer\n" in text
    assert "WantedBy=multi-user.target\n" in text


def test_a_users_own_unit_names_no_user() -> None:
    text = unit.render(COMMAND, by_user=True, version=252)
    assert "User=" not in text
    assert "WantedBy=default.target\n" in text


def test_an_old_systemd_is_told_nothing_that_it_would_refuse() -> None:
    assert "Restart=on-failure\n" in unit.render(COMMAND, by_user=False, version=244)
    assert "Restart=" not in unit.render(COMMAND, by_user=False, version=243)


def test_a_crontab_keeps_every_other_line() -> None:
    before = "MAILTO=ops\n# comment\n@reboot other  # substitute 00000000\n"
    after = crontab.with_line(before, COMMAND, "12345678", "/srv/boot.log")
    assert after.startswith(before)
    assert crontab.has_line(after, "12345678")
    assert crontab.without_line(after, "12345678") == before


def test_a_crontab_has_one_line_for_a_root_however_often_it_is_installed() -> None:
    once = crontab.with_line("", COMMAND, "12345678", "/srv/boot.log")
    assert crontab.with_line(once, COMMAND, "12345678", "/srv/boot.log") == once
    assert once.count("\n") == 1


def test_a_crontabs_percent_is_escaped() -> None:
    line = crontab.with_line("", COMMAND, "12345678", "/srv/boot.log")
    assert r"'/srv/50\%/sh$op'" in line


def test_a_path_that_no_crontab_can_carry_is_refused() -> None:
    with pytest.raises(UsageError, match="newline"):
        crontab.with_line("", Command(("x",), Path("/a\nb"), "", ""), "12345678", "/log")


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (HERE, "systemd"),
        (LINGERING, "systemd"),
        (PASSING, "cron"),
        (replace(NOTHING, crontab=True), "cron"),
    ],
)
def test_the_way_that_fits_is_taken(machine: Machine, kind: str, tmp_path: Path) -> None:
    assert starter(tmp_path, machine).kind == kind


def test_where_there_is_none_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        starter(tmp_path, replace(PASSING, crontab=False))
    assert "loginctl enable-linger" in told.value.cure
    with pytest.raises(UsageError) as told:
        starter(tmp_path, NOTHING)
    assert "substitute -C" in told.value.cure
