"""What others can see and do: files, sockets, secrets, and whom a repository's code runs as."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.autostart.command import command_for
from tests.e2e.site import Site
from tests.e2e.traffic import under_load
from tests.machines import USER
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ON_BOTH = pytest.mark.parametrize(
    "runtime", ["supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.slow])]
)
SECRET = "s3cr3t-0f-the-env-file"  # noqa: S105  # it is what is looked for


@pytest.fixture
def site(tmp_path: Path, runtime: str) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = runtime
    made.configure()
    yield made
    made.close()


@ON_BOTH
def test_all_state_is_its_owners_alone(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.run("drill", "restart", "--before", "0.2s", "--after", "0.2s")
    modes = {path: path.lstat() for path in [site.root / "deploy", *(site.root / "deploy").rglob("*")]}
    assert len(modes) > 10
    assert [
        path for path, seen in modes.items() if not stat.S_ISLNK(seen.st_mode) and seen.st_mode & 0o077
    ] == []


@ON_BOTH
def test_a_secret_of_the_env_file_is_given_to_build_and_app_and_to_nothing_else(site: Site) -> None:
    (site.root / "shop.env").write_text(f"TOKEN={SECRET}\n")
    (site.root / "shop.env").chmod(0o600)
    seen: list[str] = []
    done = threading.Event()
    watching = threading.Thread(target=watch_command_lines, args=(seen, done))
    watching.start()
    try:
        site.configure(more='env_file = "shop.env"\n')
        site.repository.commit("1", build='[ "$TOKEN" ] || exit 9\n')
        said = [site.run("deploy", "--json").stdout]
        site.repository.commit("2", app="raise SystemExit('a bug')\n")
        failed = site.run("deploy", "--json", exit_status=1)
        said += [failed.stdout, failed.stderr]
        site.repository.commit("3")
        shown = ("deploy", "check", "status", "history", "config")
        said += [site.run(command, "--json").stdout for command in shown]
        said += [site.run(command).stdout for command in ("status", "history", "config", "logs")]
    finally:
        done.set()
        watching.join()
    pid = site.app()["slots"][site.app()["live"]]["pid"]
    assert SECRET.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    assert [text for text in said if SECRET in text] == []
    assert seen == []
    files = [path for path in site.root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    allowed = {"shop.env", "shop_a.sh", "shop_b.sh"}  # the launchers: 0700, as everything in deploy/run
    assert {path.name for path in files} <= allowed


def watch_command_lines(seen: list[str], done: threading.Event) -> None:
    while not done.wait(0.01):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if SECRET.encode() in line:
                seen.append(line.decode())


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_links_in_a_slot_lead_nobody_outside(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    site.configure(more="clean = true\n")
    site.repository.commit("1", build=f"ln -s {outside} cache; ln -s {outside} .substitute\n")
    (site.repository.directory / "data").symlink_to(outside)
    site.repository.commit("1")
    site.run("deploy")
    site.repository.commit("2", build=f"ln -sfn {outside} cache\n")
    site.run("deploy")
    # What was a link is a directory of the next version: git has to replace it, not to follow it.
    (site.repository.directory / "data").unlink()
    for name in ("data", "cache", ".substitute"):
        (site.repository.directory / name).mkdir()
        (site.repository.directory / name / "kept").write_text("overwritten")
    site.repository.commit("3")
    site.run("deploy")
    site.run("rollback")
    site.run("restart")
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("kept", "kept")]


@pytest.mark.machine
@pytest.mark.parametrize("runtime", [pytest.param("supervisord", marks=pytest.mark.slow), "systemd"])
def test_with_a_user_nothing_of_the_repository_runs_as_root(site: Site, tmp_path: Path) -> None:
    for directory in (tmp_path.parent, tmp_path, site.root, site.repository.directory):
        directory.chmod(0o755)
    traps = tmp_path / "traps"
    traps.mkdir(mode=0o777)
    traps.chmod(0o777)
    environment = 'env = { PATH = ".venv/bin:/usr/bin:/bin", PYTHONPATH = ".", LD_DEBUG_OUTPUT = "loader" }\n'
    site.configure(more=f'user = "{USER}"\n{environment}')
    trap(site.repository.directory / ".venv/bin", traps)
    (site.repository.directory / "colorsys.py").write_text(
        f"import os; open(f'{traps}/py{{os.getuid()}}', 'w')"
    )
    hook = site.repository.directory / ".substitute" / "hooks" / "running"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nid -un > hook_ran_as\n")
    hook.chmod(0o755)
    own = site.root / "deploy" / "shop" / "hooks" / "post_start"
    own.parent.mkdir(parents=True)
    own.write_text(
        f'#!/bin/sh\n{{ id -un; pwd; echo "$SUBSTITUTE_DIRECTORY"; git -C "$SUBSTITUTE_DIRECTORY" log -1 --format=%s; '
        f"python3 -c 'import colorsys'; env | grep -c -e LD_ -e PYTHON; }} > {site.root}/own_hook_saw\n"
        "git log -1 $SUBSTITUTE_COMMIT\n"
    )
    own.chmod(0o755)
    build = 'id -un > build_ran_as; echo "$HOME" > home; id -Gn > groups\n'
    site.repository.commit("1", build=build)
    site.run("deploy")

    def operate() -> None:
        site.repository.commit("2", build=build)
        said = site.run("deploy")
        assert "runs as root" not in said.stdout + said.stderr
        site.run("rollback")
        restart_from_within(site)

    under_load(site, operate)
    app = site.app()
    slot = site.root / f"shop_{app['live']}"
    process = Path(f"/proc/{app['slots'][app['live']]['pid']}")
    assert process.stat().st_uid == slot.stat().st_uid != 0
    assert b"HOME=/home/" in (process / "environ").read_bytes()
    ran_as = [(slot / name).read_text().strip() for name in ("build_ran_as", "hook_ran_as", "home")]
    assert ran_as == [USER, USER, f"/home/{USER}"]
    saw = (site.root / "own_hook_saw").read_text().splitlines()
    assert saw[:2] == ["root", str(site.root)]
    assert saw[2] in {str(site.root / "shop_a"), str(site.root / "shop_b")}
    assert saw[3:] == ["Version 1", "0"]
    ran = {path.stat().st_uid for path in traps.iterdir()}
    assert ran == {slot.stat().st_uid}, "the traps are good, and caught no root"
    assert {path.lstat().st_uid for path in slot.rglob("*")} == {slot.stat().st_uid}


def restart_from_within(site: Site) -> None:
    """As somebody does whose PATH has a relative directory, and whose shell is in a slot."""
    path = f".venv/bin:{os.environ['PATH']}"
    with site.popen("restart", cwd=site.root / "shop_a", env={**os.environ, "PATH": path}) as restart:
        said = restart.communicate(timeout=60)
    assert restart.returncode == 0, said


def trap(programs: Path, traps: Path) -> None:
    """Put what root might run into a repository."""
    programs.mkdir(parents=True)
    for name in ("setpriv", "sh", "env", "git", "haproxy", "id", "touch", "rm", "python3"):
        file = programs / name
        file.write_text(f'#!/bin/sh\necho > {traps}/{name}.$$\nexec /usr/bin/{name} "$@"\n')
        file.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
@pytest.mark.parametrize("runtime", ["supervisord"])
def test_root_is_told_once_that_a_repositorys_code_runs_as_root(site: Site) -> None:
    file = site.root / "substitute.toml"
    file.write_text(file.read_text().replace('user = "root"\n', ""))
    told = [event["message"] for event in site.events("deploy") if event["event"] == "warning"]
    assert len(told) == 1
    assert 'app.shop.user to another user, or to "root"' in told[0]


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_a_user_that_cannot_be_become_is_named_before_anything_runs(site: Site) -> None:
    site.configure(more='user = "nobody-of-that-name"\n')
    said = site.run("deploy", exit_status=2).stderr
    assert "There is no user 'nobody-of-that-name'" in said
    assert not (site.root / "shop_a").exists()


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_a_user_that_is_gone_takes_neither_status_nor_the_other_apps_away(site: Site) -> None:
    site.run("deploy")
    site.run("down")
    file = site.root / "substitute.toml"
    other = (
        f'[app.other]\nuser = "nobody-of-that-name"\nrepo = "{site.repository.directory}"\nstart = "true"\n'
        f'domains = ["other"]\nports = [{free_port()}, {free_port()}]\n'
    )
    file.write_text(f"{file.read_text()}\n{other}")
    assert site.app()["live"] == "a"
    site.run("up")
    site.assert_only_serves("a")


@pytest.mark.parametrize("runtime", ["supervisord"])
def test_modules_in_the_root_are_never_taken_for_our_own(site: Site) -> None:
    """Whoever stands there and types, what is started there, and what is started at boot."""
    taken = site.root / "taken"
    for name in ("json.py", "sqlite3.py", "substitute/__init__.py", "supervisor/__init__.py"):
        file = site.root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"open({str(taken)!r}, 'a').write(__name__)\nraise SystemExit(1)\n")
    typed = str(Path(sys.executable).with_name("substitute"))
    subprocess.run([typed, "deploy"], cwd=site.root, check=True)
    site.repository.commit("2", build="touch building; sleep 600\n")
    environment = {
        **os.environ,
        "PYTHONPATH": "shop_a:",
    }  # for the deployer, which is elsewhere, that is nothing
    with site.popen("deploy", env=environment) as deployer:
        eventually((site.root / "shop_b" / "building").exists, "the build runs")
        deployer.kill()
    log = site.root / "deploy" / "run" / "guardian.log"
    eventually(
        lambda: "Cleaned up after deployment" in log.read_text() or taken.exists(), "the guardian settled"
    )
    subprocess.run(command_for(site.root, "root").argv("up"), cwd=site.root, check=True)
    for name in ("substitute", "supervisor"):
        shutil.rmtree(site.root / name)
    subprocess.run([sys.executable, "-m", "substitute", "up"], cwd=site.root, check=True)
    assert not taken.exists(), taken.read_text()
