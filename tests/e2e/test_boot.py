"""A reboot of a real machine: everything is back, with nobody typing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.autostart.command import command_for
from substitute.autostart.cron import Cron
from substitute.linux.root_names import root_hash
from tests.e2e.site import Site, fetch
from tests.machines import AFTER_RESCUE, USER
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.machines import Machine


def deployed(place: Path, runtime: str = "auto") -> Site:
    """A root inside the machine whose version 1 serves."""
    site = Site(place)
    site.runtime = runtime
    site.configure()
    site.run("deploy")
    assert fetch(site.url) == "version 1\n"
    return site


def await_answer(machine: Machine, site: Site) -> None:
    """Wait until the machine answers again."""

    def asked() -> None:
        eventually(lambda: _answers(site), "the version that was live answers")

    machine.call(asked)


def _answers(site: Site) -> bool:
    try:
        return fetch(site.url) == "version 1\n"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("user", "runtime"),
    [
        pytest.param(None, "systemd", id="root-systemd"),
        pytest.param(
            USER, "supervisord", id="a user whose systemd lingers-supervisord", marks=pytest.mark.slow
        ),
        pytest.param(None, "supervisord", id="root-supervisord", marks=pytest.mark.long),
        pytest.param(USER, "systemd", id="a user whose systemd lingers-systemd", marks=pytest.mark.long),
    ],
)
def test_after_install_a_reboot_brings_everything_back(
    machine: Machine, user: str | None, runtime: str
) -> None:
    home = Path(f"/home/{USER}" if user else "/srv")
    site = machine.call(lambda: deployed(home / runtime, runtime), user=user)
    assert machine.call(lambda: site.status()["boot"], user=user) == {"kind": None, "where": None}
    said = json.loads(machine.call(lambda: site.run("install", "--json").stdout, user=user))
    assert said["boot"]["kind"] == "systemd"
    assert machine.call(lambda: site.status()["boot"], user=user) == said["boot"]

    machine.reboot()
    await_answer(machine, site)
    assert machine.call(lambda: site.status()["apps"][0]["live"], user=user) == "a"

    machine.call(lambda: site.run("uninstall"), user=user)
    assert machine.call(lambda: fetch(site.url)) == "version 1\n"
    assert not machine.call(lambda: Path(said["boot"]["where"]).exists(), user=user)
    machine.call(lambda: site.run("down"), user=user)
    machine.call(lambda: site.run("install"), user=user)  # as on the first day: it runs `up`
    await_answer(machine, site)
    machine.call(lambda: site.run("uninstall"), user=user)
    machine.call(lambda: site.run("down"), user=user)


@pytest.mark.slow
def test_a_runtime_that_changes_after_install_is_asked_when_the_machine_shuts_down(machine: Machine) -> None:
    """What systemd keeps ends by itself; a supervisord is taken down by the unit that `install` wrote."""

    def change() -> None:
        site = deployed(Path("/srv/changed"), "supervisord")
        site.run("install")
        unit = f"substitute-{root_hash(site.root)}.service"
        eventually(lambda: command("is-active", unit) == "active", "what was installed has run")
        for runtime, stays in (("systemd", True), ("supervisord", False)):
            site.runtime = runtime
            site.configure()
            site.run("deploy")
            command("stop", unit)
            assert _answers(site) is stays
            command("start", unit)
            assert _answers(site)
        site.run("uninstall")
        site.run("down")

    machine.call(change)


def command(*words: str) -> str:
    """What `systemctl` says."""
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def is_active(machine: Machine, unit: str) -> bool:
    return machine.run("systemctl", "is-active", unit, check=False).stdout == "active\n"


def test_what_fails_at_boot_is_tried_again_and_what_serves_goes_on(machine: Machine) -> None:
    """An app whose database comes later than it, beside one that needs none."""

    def prepare() -> Site:
        site = Site(Path("/srv/late"))
        (site.root / "database").touch()
        blog = (
            f'ports = [{free_port()}, {free_port()}]\nrepo = "{site.repository.directory}"\nuser = "root"\n'
        )
        start = f"test -e {site.root}/database && exec {sys.executable} -S -E app.py"
        site.configure(more=f'[app.blog]\n{blog}domains = ["blog.test"]\nstart = "{start}"\n')
        site.run("deploy", "-a", "shop")
        site.run("deploy", "-a", "blog")
        where = json.loads(site.run("install", "--json").stdout)["boot"]["where"]
        more = Path(f"{where}.d", "soon.conf")
        more.parent.mkdir()
        more.write_text("[Service]\nRestartSec=1s\n")
        (site.root / "database").unlink()
        return site

    site = machine.call(prepare)
    unit = f"substitute-{root_hash(site.root)}.service"
    machine.reboot()
    await_answer(machine, site)

    def tries() -> int:
        return int(machine.run("systemctl", "show", "--value", "-p", "NRestarts", unit).stdout)

    shop, before = machine.call(lambda: site.app()["slots"]["a"]["pid"]), tries()
    eventually(lambda: tries() > before, "it is tried again")
    machine.run(
        "systemctl", "isolate", "rescue.target"
    )  # a shell for the administrator: this goes on as well
    machine.run("systemctl", "isolate", "multi-user.target")
    machine.run("systemctl", *AFTER_RESCUE)
    machine.run("touch", str(site.root / "database"))
    eventually(lambda: is_active(machine, unit), "everything serves")
    assert machine.call(lambda: site.app()["slots"]["a"]["pid"]) == shop
    machine.call(lambda: site.run("uninstall"))
    assert machine.call(lambda: fetch(site.url)) == "version 1\n"
    machine.call(lambda: site.run("down"))


@pytest.mark.slow
def test_the_gate_is_back_too(machine: Machine) -> None:
    def prepare() -> Site:
        site = Site(Path("/srv/gate"))
        site.balancer = 'kind = "passive"'
        site.configure()
        site.run("deploy")
        site.run("install")
        site.url = f"http://127.0.0.1:{site.ports[1]}/"  # the port of the slot that is not live
        assert fetch(site.url) == "version 1\n"
        return site

    site = machine.call(prepare)
    machine.reboot()
    await_answer(machine, site)
    machine.call(lambda: site.run("uninstall"))
    machine.call(lambda: site.run("down"))


def test_a_deployment_that_a_power_cut_ended_is_settled_at_boot(machine: Machine) -> None:
    site = machine.call(lambda: deployed(Path("/srv/cut")))
    machine.call(lambda: site.run("install"))

    def cut() -> None:
        site.repository.commit("2", build="touch building; sleep 600\n")
        site.popen("deploy")
        eventually((site.root / "shop_b" / "building").exists, "the build runs")

    machine.call(cut)
    machine.reboot()
    await_answer(machine, site)
    machine.call(lambda: eventually(lambda: site.status()["apps"][0]["deployment"] is None, "it is closed"))
    machine.call(lambda: site.run("uninstall"))
    machine.call(lambda: site.run("down"))


@pytest.mark.slow
def test_cron_does_it_where_there_is_no_systemd(machine: Machine) -> None:
    site = machine.call(lambda: deployed(Path("/srv/with cron 100%"), "supervisord"))
    cron = Cron(site.root)
    assert machine.call(cron.where) is None
    machine.call(lambda: cron.install(command_for(site.root, "root")))
    assert machine.call(cron.where)
    machine.run("systemctl", "enable", "cron")

    machine.reboot()
    await_answer(machine, site)
    machine.call(cron.uninstall)
    assert machine.call(cron.where) is None
    machine.call(lambda: site.run("down"))
