from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.errors import SubstituteError
from substitute.core.model.health import RUNS
from substitute.core.model.programs import Inspection, Limits
from substitute.core.model.slots import SlotName
from tests.unit.fakes.logs import Written

if TYPE_CHECKING:
    from substitute.core.model.programs import Process, Program
    from tests.unit.fakes.shop import Shop


def failure(shop: Shop, ending: str, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> SubstituteError:
    monkeypatch.setattr(shop.host.runtime, "log", lambda *_: Written(lines))
    monkeypatch.setattr(
        shop.host.runtime, "inspect", lambda name: Inspection(shop.world.running.get(name), ending)
    )
    shop.world.boots = lambda commit: commit != "bad"
    with pytest.raises(SubstituteError) as told:
        deploy(shop.host, shop.app, "bad")
    return told.value


def test_a_program_that_is_not_found_is_told_with_the_command_and_where_it_was_looked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.change(start="node7 www.js")
    error = failure(shop, "exit status 127", ["start: 1: exec: node7: not found"], monkeypatch)
    assert "a program was not found. `start` is `node7 www.js`. PATH is /bin." in error.fact
    assert error.fact.endswith("  | start: 1: exec: node7: not found")
    assert "the live version" not in f"{error.fact} {error.cure}"
    assert "substitute logs a" in error.cure


def test_of_a_worker_that_is_not_found_it_is_told_what_starts_the_worker(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ProcessType("work7", 1, Order.STOP_FIRST, RUNS, 5.0, user=None, limits=Limits(), env={})
    shop.change(processes={"worker": process})
    start = shop.host.runtime.start

    def and_end(program: Program) -> Process:
        started = start(program)
        if program.command == "work7":
            shop.world.crash(program.name)
        return started

    monkeypatch.setattr(shop.host.runtime, "start", and_end)
    monkeypatch.setattr(
        shop.host.runtime, "inspect", lambda name: Inspection(shop.world.running.get(name), "exit status 127")
    )
    with pytest.raises(SubstituteError, match="`start` is `work7`"):
        deploy(shop.host, shop.app, "v1")


def test_a_path_that_differs_from_the_live_versions_is_told_and_can_be_pasted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.host = replace(shop.host, caller={"PATH": "/usr/bin"})
    error = failure(shop, "exit status 127", [], monkeypatch)
    assert "PATH is /usr/bin; the live version was started with /bin." in error.fact
    assert 'add to [app.shop.env]: PATH = "/bin"' in error.cure


def test_a_program_that_may_not_be_executed_is_told_with_the_line_that_keeps_the_bit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure(shop, "exit status 126", [], monkeypatch)
    assert "may not be executed. `start` is `serve`." in error.fact
    assert "git update-index --chmod=+x" in error.cure


@pytest.mark.parametrize("form", ["tmp/server.pid", "{slot}/tmp/server.pid", "({slot}/tmp/server.pid)."])
def test_a_file_that_an_earlier_run_left_is_told_with_the_line_that_removes_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    shop.world.untracked = {"tmp/server.pid"}
    slot = shop.app.slots[SlotName.A].directory
    line = f"A server is already running. Check {form.format(slot=slot)}"
    error = failure(shop, "exit status 1", [line], monkeypatch)
    assert "tmp/server.pid, which no commit holds: an earlier run left it in slot a." in error.fact
    assert f"`rm {slot / 'tmp' / 'server.pid'}`" in error.cure


@pytest.mark.parametrize(
    "line",
    [
        "cannot read tracked.pid",
        "see /etc/other.pid",
        "see ../shop_b/tmp/server.pid",
        "at {slot}/node_modules/express/index.js:12",
        "A server is already running.",
    ],
)
def test_nothing_else_is_taken_for_what_an_earlier_run_left(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    slot = shop.app.slots[SlotName.A].directory
    shop.world.untracked = {"tmp/server.pid", "../shop_b/tmp/server.pid", "node_modules/express/index.js"}
    error = failure(shop, "exit status 1", [line.format(slot=slot)], monkeypatch)
    assert "earlier run" not in str(error)
