"""What tests of many hosts have builds do, and how they wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.machines import USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.fleets import Fleet

HOME = f"/home/{USER}"
RELEASE = f'release = ["echo $SUBSTITUTE_COMMIT >>{HOME}/released"]'
WAITS = f"touch {HOME}/begun; while [ ! -e {HOME}/go ]; do sleep 0.05; done\n"
"""A build that waits until it may go on."""
FAILS_SOMEWHERE = f"test ! -e {HOME}/broken\n"
CRON = f"""\
[app.shop.cron.digest]
at = "0 6 * * *"
command = "echo $SUBSTITUTE_CRON; test ! -e {HOME}/broken"
"""
LIMITS = 'answer_timeout = "20s"\nlost_timeout = "60s"'


def begun(fleet: Fleet, *names: str) -> None:
    for name in names:
        fleet.waits_at(name, f"{HOME}/begun")


def go_on(fleet: Fleet, *names: str) -> None:
    for name in names:
        fleet.machines[name].run("touch", f"{HOME}/go")


def under_way(fleet: Fleet) -> list[str | None]:
    """The commit that is being deployed on each host."""
    answers = fleet.document("status", "--hosts", "all").values()
    found = [one["status"]["apps"][0]["deployment"] for one in answers]
    return [one and one["commit"] for one in found]


def come_to_their_end(fleet: Fleet) -> None:
    """Return when nothing is being deployed on any host; where that lasts, what runs there is shown."""
    try:
        eventually(lambda: not any(under_way(fleet)), "each host has come to its end")
    except AssertionError as error:
        for name, machine in fleet.machines.items():
            error.add_note(
                f"{name}:\n{machine.run('ps', '-eo', 'pid,ppid,ni,stat,wchan:20,etimes,args').stdout}"
            )
        raise


def old_and_new(fleet: Fleet, build: str) -> tuple[str, str]:
    """The commit that is live everywhere, and a new one."""
    old = fleet.everywhere
    if old is None:
        (old,) = set(fleet.live().values())
    assert old
    return old, fleet.commit("next", build=build)
