"""What `settle` decides, for everything that it can see."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest

from substitute.core.deploy.decision import Seen, Step, decide
from substitute.core.model.desired import SERVING, STANDBY, STOPPED
from substitute.core.model.records import unregistered
from substitute.core.model.slots import SlotName
from substitute.values import replace
from tests.unit.fakes.shop import make_app

BOTH = (True, False)
EVERYTHING = [Seen(*answers, down) for answers in product(BOTH, BOTH, BOTH) for down in ("", "It exited.")]


@pytest.mark.parametrize("seen", EVERYTHING, ids=repr)
def test_the_last_slot_that_answers_is_never_taken_out_of_the_balancer(seen: Seen) -> None:
    step = decide(seen)
    assert (step is Step.SERVE) == seen.live
    if step is Step.GO_BACK:
        assert seen.other
    if step is Step.REPORT:
        assert not seen.other
    if step is Step.REVIVE:
        assert not seen.down, "it was tried already"


@pytest.mark.parametrize("seen", EVERYTHING, ids=repr)
def test_one_that_was_never_live_takes_the_place_only_of_one_that_cannot_be_started_again(seen: Seen) -> None:
    if decide(seen) is Step.GO_BACK and not seen.other_may:
        assert seen.down


RECORD = unregistered(make_app(Path("/root")))
UNTIL = 900.0
A, B = SlotName.A, SlotName.B


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("live", [None, *SlotName])
def test_what_is_desired_of_a_slot_follows_from_the_journal_alone(
    live: SlotName | None, *, stopped: bool
) -> None:
    record = replace(RECORD, live=live, stopped=stopped)
    found = record.desired(0.0)
    serving = [name for name, desired in found.items() if desired == SERVING]
    assert serving == ([live] if live and not stopped else [])
    assert all(desired == STOPPED for name, desired in found.items() if name not in serving)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("until", [None, UNTIL, math.inf])
@pytest.mark.parametrize("now", [UNTIL - 1, UNTIL])
def test_the_version_before_stands_by_until_its_time_beside_one_that_serves(
    until: float | None, now: float, *, stopped: bool
) -> None:
    before = replace(RECORD.slots[SlotName.B], standby=True, standby_until=until)
    record = replace(RECORD, live=SlotName.A, stopped=stopped, slots={**RECORD.slots, SlotName.B: before})
    stays = until is not None and until > now and not stopped
    assert record.desired(now)[SlotName.B] == (STANDBY if stays else STOPPED)
    assert record.standby(now) == (before if stays else None)


@pytest.mark.parametrize(
    ("live", "shares", "standby", "spare"),
    [
        (A, (100, 0), None, None),
        (A, (100, 0), UNTIL, B),
        (B, (0, 100), None, None),
        (A, (50, 50), None, B),  # b is a candidate
        (A, (0, 100), None, A),  # one that gets all requests at once
        (A, (0, 0), UNTIL, None),
        (None, (0, 100), None, None),
    ],
)
def test_the_other_slot_is_asked_for_assets_while_it_stands_by_or_both_are_there_for_requests(
    live: SlotName | None, shares: tuple[int, int], standby: float | None, spare: SlotName | None
) -> None:
    slots = {
        name: replace(RECORD.slots[name], share=share) for name, share in zip((A, B), shares, strict=True)
    }
    slots[B] = replace(slots[B], standby=standby is not None, standby_until=standby)
    assert replace(RECORD, live=live, slots=slots).spare is spare
