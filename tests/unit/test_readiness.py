"""How often an instance that boots is asked whether it is ready."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.deploy.readiness.started import LogTail, Started
from substitute.core.model.errors import NotReadyError
from substitute.core.model.programs import Inspection, Process
from substitute.core.model.slots import SlotName
from substitute.core.ports.prober import Answer
from tests.unit.fakes.instances import FakeInstances
from tests.unit.fakes.logs import FakeLog
from tests.unit.fakes.prober import FakeProber
from tests.unit.fakes.runtime import FakeRuntime
from tests.unit.fakes.shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PROCESS = Process(101, 101, "boot")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = make_shop(tmp_path)
    made.host.journal.register(made.app)
    made.world.running["shop_a"] = PROCESS
    return made


def asked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, answers: Iterable[bool], *, successes: int
) -> list[float]:
    """When it is asked for each of `answers`, from its first one until it is ready or given up."""
    left, times = iter(answers), list[float]()

    def probe(*_: object) -> Answer:
        times.append(shop.world.clock.time)
        return Answer(good, "200") if (good := next(left)) else Answer(good, "503")

    monkeypatch.setattr(FakeProber, "probe", probe)
    health = replace(shop.app.health, successes=successes)
    slot = shop.host.journal.app("shop").slots[SlotName.A]
    try:
        program = replace(shop.host.program(shop.app, slot, slot.web[0], {}), notifies=True)
        started = Started(slot.web[0], PROCESS, LogTail(FakeLog()), program, health)
        await_ready(shop.host, slot, [started], show=lambda _: None)
    except NotReadyError:
        times.append(shop.world.clock.time)
    return times


def test_it_is_ready_after_so_many_good_answers_in_a_row(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [True, True, False, True, True, True]
    assert len(asked(shop, monkeypatch, answers, successes=3)) == len(answers)


def test_answers_follow_each_other_at_once_and_then_less_often_up_to_the_interval(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = asked(shop, monkeypatch, [False] * 1000, successes=2)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] < shop.app.health.interval / 10
    assert all(earlier < later for earlier, later in pairwise(pauses[:5]))
    assert pauses[5] < max(pauses) == pytest.approx(shop.app.health.interval)


def test_the_runtime_is_not_asked_while_the_instance_lives_and_does_not_listen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does one thing at a time, and what it does for that is taken from the app that boots."""
    looks, inspected = iter([None] * 100), list[str]()

    def inspect(_self: FakeRuntime, name: str) -> Inspection:
        inspected.append(name)
        return Inspection(PROCESS)

    monkeypatch.setattr(FakeInstances, "owned", lambda *_: next(looks, True))
    monkeypatch.setattr(FakeRuntime, "inspect", inspect)
    asked(shop, monkeypatch, [True, True], successes=2)
    assert len(inspected) == 2
