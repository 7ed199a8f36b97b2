from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Limits, Program, Protection
from substitute.runtimes.systemd.units import Manager, Names, render, render_environment

SYSTEM = Manager(user=False, version=252)
USER = Manager(user=True, version=252, inherited=("HOME", "PATH"))
ROOT = Path("/srv/shop")
PATH = {"PATH": "/usr/bin:/bin"}


def program(command: str = "sleep 600", **more: object) -> Program:
    return replace(Program("shop_a", command, ROOT / "shop_a", PATH, Path("/log"), 30.0), **more)  # type: ignore[arg-type]


def lines(it: Program, manager: Manager = SYSTEM, root: Path = ROOT) -> list[str]:
    return render(it, Names(root), manager, Path("/run/shop_a.env")).splitlines()


def command(text: str, **more: object) -> str:
    return next(line for line in lines(program(text, **more)) if line.startswith("ExecStart="))


def test_two_roots_never_share_a_name() -> None:
    first, second = Names(ROOT), Names(Path("/srv/blog"))
    assert first.service("shop_a") != second.service("shop_a")
    assert first.service("shop_a") == f"{first.prefix}-shop_a.service"


def test_a_command_that_needs_no_shell_gets_none() -> None:
    assert command("sleep 600") == 'ExecStart=@:"/usr/bin/sleep" "sleep" "600"'
    assert command(f"{sys.executable} -c 'a b' \"%d\"").endswith('"-c" "a b" "%%d"')


def test_a_pipe_in_the_place_of_a_program_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run", 0o777)
    assert command("./run", directory=tmp_path) == 'ExecStart=:"/bin/sh" "-c" "exec ./run"'


@pytest.mark.parametrize(
    "text", ["sleep $TIME", "A=1 sleep 6", "a; b", "sleep 6 > out", "no-such-program", "cat *"]
)
def test_one_that_needs_a_shell_gets_it_and_replaces_it_where_it_can(text: str) -> None:
    assert command(text).startswith('ExecStart=:"/bin/sh" "-c" ')
    assert ("exec " in command(text)) is (text != "a; b")


def test_nothing_of_a_command_is_left_to_systemd() -> None:
    assert command('echo "$A" %h\n\\x') == 'ExecStart=:"/bin/sh" "-c" "echo \\"$A\\" %%h\\x0a\\\\x"'


def test_limits_and_protections_are_lines_and_each_can_be_left_out() -> None:
    limited = lines(program(limits=Limits(memory=1 << 20, cpu=1.5, tasks=64, nofile=1024)))
    assert {"MemoryMax=1048576", "CPUQuota=150%", "TasksMax=64", "LimitNOFILE=1024"} <= set(limited)
    assert not [line for line in lines(program()) if line.startswith(("MemoryMax", "CPUQuota"))]
    everything = set(lines(program()))
    for one in Protection:
        without = set(lines(program(protections=frozenset(Protection) - {one})))
        assert without < everything


def test_a_root_in_tmp_keeps_the_common_tmp() -> None:
    inside = Path("/tmp/shop")  # noqa: S108
    assert "PrivateTmp=yes" not in lines(program(), root=inside)
    assert "PrivateTmp=yes" not in lines(program(f"{inside}/bin/python app.py"))
    assert "PrivateTmp=yes" in lines(program(f"python app.py {inside}/scratch"))
    assert "PrivateTmp=yes" in lines(program())


def test_a_root_where_the_system_is_may_still_be_written() -> None:
    root = Path("/usr/local/www")
    assert f'ReadWritePaths="-{root}"' in lines(program(), root=root)


def test_a_user_manager_gets_what_it_can_do_and_its_own_variables_are_left_out() -> None:
    found = lines(program(), USER)
    assert "NoNewPrivileges=yes" in found
    assert "UnsetEnvironment=HOME" in found
    assert not [line for line in found if line.startswith(("PrivateTmp", "ProtectSystem"))]


def test_a_newer_systemd_waits_longer_each_time_and_never_gives_up() -> None:
    assert "RestartSteps=10" in lines(program(), Manager(user=False, version=255))
    assert "RestartSteps=10" not in lines(program())


def test_the_unit_in_the_documentation_is_what_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "systemd.md").read_text()
    fields = {"ROOT": "/srv/shop", "APP": "shop", "SLOT": "a", "COMMIT": "c0ffee", "DEPLOYMENT": "12"}
    shown = program(
        "gunicorn -b $HOST:$PORT shop:app",
        user="shop",
        limits=Limits(memory=512 << 20, nofile=65536),
        fields={f"SUBSTITUTE_{name}": value for name, value in fields.items()},
    )
    names = Names(ROOT)
    assert render(shown, names, SYSTEM, Path("/run", names.prefix, "shop_a.env")) in page


@pytest.mark.parametrize("directory", ["/srv/a\nb", "/srv/a ", "/srv/a\\"])
def test_a_path_that_no_unit_can_carry_is_refused(directory: str) -> None:
    with pytest.raises(RuntimeFailedError, match="cannot carry the path"):
        lines(program(directory=Path(directory)))


@pytest.mark.parametrize("value", ["\udcff", "\ufdd0", "a\0b"])
def test_a_value_that_is_no_text_to_systemd_is_refused_and_not_left_out(value: str) -> None:
    with pytest.raises(RuntimeFailedError):
        render_environment({"A": value})
