"""What `settle` decides, for everything that it can see."""

from __future__ import annotations

from itertools import product

import pytest

from substitute.core.deploy.settle import Seen, Step, decide
from substitute.core.model.desired import SERVING, STOPPED
from substitute.core.model.records import AppRecord
from substitute.core.model.slots import SlotName

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


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("live", [None, *SlotName])
def test_what_is_desired_of_a_slot_follows_from_the_journal_alone(
    live: SlotName | None, *, stopped: bool
) -> None:
    record = AppRecord("shop", live, stopped, dict.fromkeys(SlotName))  # type: ignore[arg-type]
    serving = [name for name, desired in record.desired.items() if desired == SERVING]
    assert serving == ([live] if live and not stopped else [])
    assert all(desired == STOPPED for name, desired in record.desired.items() if name not in serving)
