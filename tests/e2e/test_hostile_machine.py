"""A machine that does everything wrong, with requests flowing. Not one may fail, and nothing is mended by hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import fetch
from tests.e2e.traffic import under_load
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.site import Site


def _garbage(journal: Path) -> None:
    journal.write_bytes(b"not a database" * 1000)


def _truncated(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])


def _emptied(journal: Path) -> None:
    journal.write_bytes(b"")


def _deleted(journal: Path) -> None:
    journal.unlink()


LOST: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (_garbage, "was damaged and is kept as"),
    "truncated": (_truncated, "was damaged and is kept as"),
    "emptied": (_emptied, "was gone"),
    "deleted": (_deleted, "was gone"),
}


@pytest.mark.parametrize(
    "how",
    [
        "garbage",
        pytest.param("deleted", marks=pytest.mark.slow),
        *(pytest.param(how, marks=pytest.mark.long) for how in ("truncated", "emptied")),
    ],
)
def test_a_lost_journal_is_made_anew_from_what_is_observed_and_said(site: Site, how: str) -> None:
    lose, told = LOST[how]
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.assert_only_serves("b")
    pid = site.app()["slots"]["b"]["pid"]
    journal = site.root / "deploy" / "journal.db"

    def go_on() -> None:
        for ending in ("-wal", "-shm"):  # it would all be there still
            journal.with_name(journal.name + ending).unlink(missing_ok=True)
        lose(journal)
        said = site.run("up").stdout
        assert told in said
        assert "shop is live in slot b" in said
        site.assert_only_serves("b")
        assert site.app()["slots"]["b"]["pid"] == pid
        site.repository.commit("3")
        assert "journal" not in site.run("deploy").stdout
        site.assert_only_serves("a")
        site.run("rollback")
        site.assert_only_serves("b")

    assert under_load(site, go_on) == {"2", "3"}
    kept = list(journal.parent.glob("journal.db.damaged-*"))
    assert len(kept) == ("damaged" in told)


def test_after_a_reboot_without_a_journal_up_starts_what_was_live(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.run("down")
    for part in (site.root / "deploy").glob("journal.db*"):
        part.unlink()
    assert "shop is live in slot b" in site.run("up").stdout
    site.assert_only_serves("b")


def test_the_journal_of_a_newer_version_is_left_as_it_is_and_said(site: Site) -> None:
    site.run("deploy")
    journal = site.root / "deploy" / "journal.db"
    with sqlite3.connect(journal) as newer:
        (version,) = newer.execute("PRAGMA user_version").fetchone()
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    def refused() -> None:
        said = site.run("deploy", exit_status=1).stderr
        assert "written by a newer version of substitute" in said
        assert "Traceback" not in said

    under_load(site, refused)
    with sqlite3.connect(journal) as newer:
        newer.execute(f"PRAGMA user_version = {version}")
    newer.close()
    site.run("deploy")
    site.assert_only_serves("b")


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """A site whose root is a disk of 24 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "hostile", str(site.root)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    site.configure()
    yield site
    site.close()
    subprocess.run(["umount", "--lazy", str(site.root)], check=True)


def _hook(site: Site, name: str, script: str) -> Path:
    hook = site.root / "deploy" / "shop" / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    return hook


def _fill(site: Site) -> str:
    return f"cat /dev/zero > {site.root}/filler 2>/dev/null; true"


def _full(site: Site) -> bool:
    disk = os.statvfs(site.root)
    return disk.f_bavail * disk.f_frsize < 2 << 20


PHASES = ("pre_checkout", "post_install", "post_start", "running", "pre_stop", "end")


def test_a_disk_that_is_full_in_any_phase_fails_no_request_and_needs_no_hand(small: Site) -> None:
    small.run("deploy")

    def fill_in(phase: str) -> None:
        small.repository.commit(phase)
        hook = _hook(small, phase, _fill(small))
        small.run("deploy")  # on the reserve
        assert _full(small)
        assert small.app()["deployment"] is None
        hook.unlink()
        (small.root / "filler").unlink()

    assert under_load(small, *(partial(fill_in, phase) for phase in PHASES)) == {"1", *PHASES}


def test_a_build_that_fills_the_disk_fails_alone_and_says_so(small: Site) -> None:
    small.run("deploy")

    def fill() -> None:
        small.repository.commit("2", build=f"cat /dev/zero > {small.root}/filler\n")
        said = small.run("deploy", exit_status=1).stderr
        assert "No space left on device" in said
        assert "Slot a" in said
        assert "Traceback" not in said
        small.run("up")
        small.assert_only_serves("a")

    def go_on() -> None:
        (small.root / "filler").unlink()
        small.repository.commit("3")
        small.run("deploy")
        small.assert_only_serves("b")

    assert under_load(small, fill, go_on) == {"1", "3"}


def test_where_even_the_reserve_is_eaten_the_live_version_serves_and_the_next_command_settles(
    small: Site,
) -> None:
    small.run("deploy")

    def devour() -> None:
        small.repository.commit("2")
        (small.root / "deploy" / "journal.reserve").unlink()
        _hook(small, "running", f"rm -f {small.root}/deploy/journal.reserve; {_fill(small)}")
        said = small.run("deploy", exit_status=1).stderr
        assert "journal.db cannot be written" in said
        assert "room on its disk" in said
        assert "Slot a" in said
        assert "Traceback" not in said

    def go_on() -> None:
        (small.root / "filler").unlink()
        (small.root / "deploy" / "shop" / "hooks" / "running").unlink()
        small.run("up")
        small.assert_only_serves("a")
        small.run("deploy")
        small.assert_only_serves("b")

    assert under_load(small, devour, go_on) == {"1", "2"}


def test_a_port_that_a_stranger_took_and_a_broken_slot_are_said_and_leave_nothing_behind(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")

    def taken() -> None:
        site.repository.commit("3")
        with socket.create_server(("127.0.0.1", site.ports[0])):
            said = site.run("deploy", exit_status=1).stderr
        assert f"pid {os.getpid()}" in said
        assert "Slot b" in said
        site.run("deploy")
        site.assert_only_serves("a")

    def broken() -> None:
        site.repository.commit("4")
        slot = next(site.root.glob("shop*b"))
        shutil.rmtree(slot / ".git")
        assert "was broken" in site.run("deploy").stdout
        site.assert_only_serves("b")

    def locked() -> None:
        site.repository.commit("5")
        (next(site.root.glob("shop*a")) / ".git" / "index.lock").write_bytes(b"DIRC\0")
        site.run("deploy")
        site.assert_only_serves("a")

    assert under_load(site, taken, broken, locked) == {"2", "3", "4", "5"}


def test_hooks_and_builds_that_hang_flood_or_want_a_terminal_do_no_harm(site: Site) -> None:
    site.configure(more='[app.shop.hooks]\ntimeout = "1s"\n')
    site.run("deploy")

    def hang() -> None:
        site.repository.commit("2")
        hook = _hook(site, "pre_start", "sleep 600 & sleep 600")
        said = site.run("deploy", exit_status=1).stderr
        assert "The hook pre_start did not end within 1s" in said
        assert str(hook) in said
        site.assert_only_serves("a")
        hook.unlink()

    def flood() -> None:
        site.configure(more='[app.shop.hooks]\ntimeout = "60s"\n')
        binary = r"head -c 3000000 /dev/urandom; printf '\033]0;owned\007\033[2J\033[31mred\n'; sleep 0 &"
        hook = _hook(site, "pre_start", binary)
        build = "if read line </dev/tty; then exit 9; fi\nif read line; then exit 8; fi\n"
        site.repository.commit("3", build=build)
        ended = site.run("deploy")
        assert "\033" not in ended.stdout + ended.stderr
        assert "red" in ended.stdout
        site.assert_only_serves("b")
        hook.unlink()

    assert under_load(site, hang, flood) == {"1", "3"}


def test_the_configuration_is_edited_while_a_deployment_runs(site: Site) -> None:
    site.run("deploy")
    earlier = (site.root / "substitute.toml").read_text()

    def edited() -> None:
        site.repository.commit("2")
        hook = _hook(site, "pre_start", f"echo 'not = [toml' > {site.root}/substitute.toml")
        site.run("deploy")
        hook.unlink()
        assert "substitute.toml" in site.run("deploy", exit_status=2).stderr

    def mended() -> None:
        ports = (free_port(), free_port())
        text = earlier.replace(str(list(site.ports)), str(list(ports)))
        assert text != earlier
        (site.root / "substitute.toml").write_text(text)
        site.repository.commit("3")
        site.run("deploy")
        site.assert_only_serves("a")
        assert site.app()["slots"]["a"]["port"] == ports[0]

    assert under_load(site, edited, mended) == {"1", "2", "3"}


def test_a_command_without_descriptors_left_says_so_and_harms_nothing(site: Site) -> None:
    site.run("deploy")

    def starved() -> None:
        site.repository.commit("2")
        limited = ["sh", "-c", 'ulimit -n 11; exec "$@"', "sh", *site.command("deploy")]
        ended = subprocess.run(limited, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1, ended.stderr
        assert "Too many open files" in ended.stderr
        assert "Traceback" not in ended.stderr
        site.run("deploy")
        site.assert_only_serves("b")

    assert under_load(site, starved) == {"1", "2"}


def test_a_remote_that_vanishes_or_hangs_is_said_and_ctrl_c_ends_the_wait(site: Site) -> None:
    site.run("deploy")
    earlier = (site.root / "substitute.toml").read_text()

    def vanishes_or_hangs() -> None:
        with socket.create_server(("127.0.0.1", 0)) as remote:
            url = f"http://127.0.0.1:{remote.getsockname()[1]}/shop.git"
            text = earlier.replace(str(site.repository.directory), url)
            (site.root / "substitute.toml").write_text(text)
            with site.popen("deploy") as deploy:
                asked, _ = remote.accept()
                asked.recv(1)
                deploy.send_signal(signal.SIGINT)
                said = deploy.communicate(timeout=60)[1]
                asked.close()
            assert deploy.returncode == 130
            assert "Slot a" in said
            with site.popen("deploy") as deploy:
                remote.accept()[0].close()
                remote.close()
                said = deploy.communicate(timeout=60)[1]
            assert deploy.returncode == 1
            assert url in said
            assert "Traceback" not in said
            assert "Slot a" in said

    def comes_back() -> None:
        (site.root / "substitute.toml").write_text(earlier)
        site.repository.commit("2")
        site.run("deploy")
        site.assert_only_serves("b")

    assert under_load(site, vanishes_or_hangs, comes_back) == {"1", "2"}


def test_an_app_that_was_renamed_says_what_is_left_and_loses_no_request(site: Site) -> None:
    site.run("deploy")
    earlier = (site.root / "substitute.toml").read_text()

    def renamed() -> None:
        (site.root / "substitute.toml").write_text(earlier.replace("app.shop", "app.a"))
        site.repository.commit("2")
        said = site.run("deploy", exit_status=2).stderr
        assert "is that of shop, which still runs under its old name" in said
        assert "type `substitute down -a shop`, then `substitute deploy`" in said

    def back() -> None:
        (site.root / "substitute.toml").write_text(earlier)
        site.run("deploy")
        site.assert_only_serves("b")

    assert under_load(site, renamed, back) == {"1", "2"}
    (site.root / "substitute.toml").write_text(earlier.replace("app.shop", "app.a"))
    site.run("down", "-a", "shop")
    site.repository.commit("3")
    site.run("deploy")
    assert fetch(site.url) == "version 3\n"
    site.assert_only_serves("a")


def test_a_root_that_became_read_only_is_said_and_the_next_command_works(site: Site) -> None:
    site.run("deploy")
    readonly = f"mount --bind {site.root} {site.root} && mount -o remount,bind,ro {site.root}"
    namespace = ["unshare", "--mount", "sh", "-c"]
    if subprocess.run([*namespace, readonly], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be made read-only here")

    def refused() -> None:
        site.repository.commit("2")
        command = [*namespace, f'{readonly} && exec "$@"', "sh", *site.command("deploy")]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1, ended.stderr
        assert str(site.root / "deploy") in ended.stderr
        assert "write access" in ended.stderr
        assert "Traceback" not in ended.stderr
        site.run("deploy")
        site.assert_only_serves("b")

    assert under_load(site, refused) == {"1", "2"}


def test_a_clock_that_is_set_back_and_forward_changes_nothing(site: Site) -> None:
    site.run("deploy")

    def deploy_with_the_clock_off_by(seconds: str) -> None:
        site.repository.commit(seconds)
        program = (
            "import random, runpy, sys, time; real = time.time\n"
            f"time.time = lambda: real() + random.choice([0, {seconds}])\n"
            "runpy.run_module('substitute', run_name='__main__')"
        )
        command = [sys.executable, "-c", program, *site.command("deploy")[3:]]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr

    back, forward = "-1e8", "1e8"
    assert under_load(
        site, partial(deploy_with_the_clock_off_by, back), partial(deploy_with_the_clock_off_by, forward)
    ) == {"1", back, forward}
    site.run("rollback")
    assert fetch(site.url) == f"version {back}\n"
