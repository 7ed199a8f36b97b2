"""The specification of the tool, as a model: whatever is typed, crashes or is killed, in any order.

`world.rules` holds each deed of a deployer against the rules of the contract, while it is done. `model.operator` holds
each command to its promise where nothing disturbs it. Here stands that all this holds after any trouble too: no state
needs fixing.

The sequences are the same each time, so that a red one tells of the change and not of luck. For others, and more:
``SEQUENCES=50000 pytest tests/unit/test_model.py -k sequence``.

`make test` kills a deployment at each of its deeds. Of all else it tries some moments: each kind of mishap, in each
command, at each thirtieth moment, and another kind begins at another one (`typed.each`); `make test-slow` each tenth.
`make test-long` tries each moment (``EVERY=1``), more sequences, and the rest of the matrices.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from substitute.core.model.errors import LockedError
from substitute.core.model.slots import SlotName
from substitute.core.operate.root import up
from substitute.core.ports.strangers import Keeper
from tests.unit.model.machine import ASSETS, STANDBY, Model
from tests.unit.model.operator import Operator
from tests.unit.model.typed import COMMANDS, DEPLOYMENTS, EVERY, each, type_
from tests.unit.world.apps import PORTS, STOP_LIMIT
from tests.unit.world.memory import go_back, remember
from tests.unit.world.mishaps import LEFT_ALONE, Mishap, What
from tests.unit.world.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # who is killed closes no file
    pytest.mark.timeout(3600),
]


@pytest.fixture(autouse=True)
def buried() -> Iterator[None]:
    """The dead are collected with the test that killed them, and not in the middle of another one."""
    gc.freeze()  # all that was here before: no collection has to look at it
    yield
    gc.collect()


# -- any sequence ---------------------------------------------------------------------------------

SEQUENCES = os.environ.get("SEQUENCES")
FEW, LENGTH = 30, 14  # how a sequence begins and ends costs as much as ten steps


def test_the_rules_hold_in_any_sequence() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=int(SEQUENCES or FEW),
            derandomize=not SEQUENCES,
            database=None,
            stateful_step_count=LENGTH,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- each deed of each command --------------------------------------------------------------------


@pytest.fixture
def operator() -> Iterator[Operator]:
    """Two versions of shop were deployed, slot b is live, and a guest runs."""
    world = World()
    made = Operator(world)
    made.deploy("shop", "v1")
    made.deploy("shop", "v2")
    made.start_guest()
    yield made
    world.close()


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "then", ["the same", *(pytest.param(then, marks=LONG) for then in ("up", "deploy", "down"))]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_deed_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, then: str
) -> None:
    every = 1 if (command, then) == ("deploy", "the same") else EVERY
    for killed in each(operator, command, What.KILL, every=every):
        assert killed.killed
        type_[command if then == "the same" else then](operator)
        operator.up()


@pytest.mark.parametrize(
    "command", ["stop", pytest.param("deploy", marks=LONG), pytest.param("down", marks=LONG)]
)
def test_killed_and_killed_in_settling_that_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str
) -> None:
    for _ in each(operator, command, What.KILL):
        for _ in each(operator, "recovery", What.KILL):
            type_["deploy"](operator)


@pytest.mark.parametrize("command", COMMANDS)
def test_power_is_lost_at_any_deed_and_a_rollback_needs_nothing_fixed(
    operator: Operator, command: str
) -> None:
    for _ in each(operator, command, What.KILL):
        operator.world.lose_power(lately_written=False)
        type_["rollback"](operator)


def test_a_balancer_that_does_not_tell_for_a_moment_is_not_taken_for_one_that_serves_nothing(
    operator: Operator,
) -> None:
    for at in range(1, 8):
        before = remember(operator.world)
        operator.world.balancer.blind_until = operator.world.clock.time + 0.1
        operator.guardian("shop", Mishap(What.FAIL, at))
        go_back(operator.world, before)


@pytest.mark.parametrize("what", [What.FAIL, What.RAISE])
def test_one_thing_that_goes_wrong_brings_up_all_the_same_or_is_told(operator: Operator, what: What) -> None:
    operator.deploy("blog", "v1")
    operator.world.lose_power(lately_written=True)
    for outcome in each(operator, "up", what):
        serving = [app for app in PORTS if operator.world.serves(app)]
        assert serving, operator.world.story()
        assert len(serving) == 2 or not outcome.succeeded, operator.world.story()


@pytest.mark.parametrize(
    "what",
    [
        *(What.FAIL, What.RAISE, What.INSIST),
        *(pytest.param(what, marks=LONG) for what in (What.INTERRUPT, What.SIGNAL, What.BLIND)),
    ],
)
@pytest.mark.parametrize("command", DEPLOYMENTS)
def test_one_thing_that_goes_wrong_in_a_deployment_leaves_nothing_unsettled(
    operator: Operator, command: str, what: What
) -> None:
    app = "blog" if command == "first deploy" else "shop"
    for _ in each(operator, command, what):
        if operator.world.journal.history(app):
            operator.hold_to_settled(app)
        if what in {What.FAIL, What.INTERRUPT}:
            type_["deploy"](operator)


@pytest.mark.parametrize("what", [What.FAIL, What.INTERRUPT, What.RAISE, What.SIGNAL])
@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in DEPLOYMENTS])
def test_whatever_fails_or_is_interrupted_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, what: What
) -> None:
    for _ in each(operator, command, what):
        type_["deploy"](operator)


@pytest.mark.parametrize("command", ["deploy", "up", "down", "start of the live slot"])
def test_a_balancer_that_obeys_nothing_any_more_is_told_truly(operator: Operator, command: str) -> None:
    if command.startswith("start"):
        operator.stop("shop", SlotName.B, force=True)
    for _ in each(operator, command, What.REFUSE):
        type_["deploy"](operator)


@pytest.mark.parametrize("what", [one for one in What if one not in {What.KILL, *LEFT_ALONE}])
@pytest.mark.parametrize("command", ["deploy", pytest.param("up", marks=LONG)])
def test_whatever_crashes_at_any_call_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, what: What
) -> None:
    for _ in each(operator, command, what):
        operator.world.heal("shop")
        type_["deploy"](operator)


# -- commands that run beside the instances -------------------------------------------------------


@pytest.mark.parametrize("what", [What.KILL, What.RAISE, What.INTERRUPT])
@pytest.mark.parametrize("command", ["run", "run in the slot that is not live"])
def test_whatever_becomes_of_a_run_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, what: What
) -> None:
    for _ in each(operator, command, what):
        type_["deploy"](operator)
        type_["deploy"](operator)
        operator.up()


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
@pytest.mark.parametrize("command", ["deploy", "rollback", "restart", "check", "up", "down", "recovery"])
def test_whatever_becomes_of_a_command_what_somebody_runs_goes_on(
    operator: Operator, command: str, what: What
) -> None:
    operator.run("shop", SlotName.A)
    refused = type_[command](operator)
    assert isinstance(refused.error, LockedError) == (command in {"deploy", "restart", "check"})
    for _ in each(operator, command, what):
        assert operator.world.runs, operator.world.story()
        operator.up()
        assert operator.world.runs, operator.world.story()


# -- what both slots share ------------------------------------------------------------------------


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
@pytest.mark.parametrize("command", ["deploy", "deploy of what the slot holds", "rollback"])
def test_what_becomes_shared_is_whole_wherever_its_first_deployment_is_cut_off(
    operator: Operator, command: str, what: What
) -> None:
    operator.world.share("shop", shared=True)
    for _ in each(operator, command, what):
        type_[command](operator)
        operator.world.share("shop", shared=False)
        type_["deploy"](operator)
        operator.world.share("shop", shared=True)
        type_["rollback"](operator)


# -- versions that are kept -----------------------------------------------------------------------


@pytest.fixture
def keeping(operator: Operator) -> Operator:
    """As `operator`, with one version more than the slots have."""
    operator.world.keep(3)
    operator.deploy("shop", "v3")
    assert operator.world.journal.kept_commits("shop") == ["v1", "v2", "v3"]
    return operator


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
@pytest.mark.parametrize("command", ["rollback to one that is kept", "deploy of another", "restart", "check"])
def test_whatever_becomes_of_a_command_what_is_kept_is_gone_back_to_without_a_build(
    keeping: Operator, command: str, what: What
) -> None:
    for _ in each(keeping, command, what):
        keeping.up()
        for commit in ("v2", "v1"):
            live = keeping.world.record("shop").live_slot
            if commit in keeping.world.journal.kept_commits("shop") and live and live.commit != commit:
                before = len(keeping.world.trail)
                assert keeping.rollback("shop", to=commit, force=True).succeeded
                assert not [line for line in keeping.world.trail[before:] if "update" in line]


def test_a_version_that_is_kept_no_longer_is_removed(keeping: Operator) -> None:
    for version in ("stubborn", "busy"):
        keeping.deploy("shop", version)
        assert len(keeping.world.journal.kept_commits("shop")) == 3
    keeping.world.keep(2)
    keeping.up()
    assert keeping.world.journal.kept_commits("shop") == ["busy", "stubborn"]
    assert not keeping.world.journal.discarded("shop")


# -- the version before stands by ------------------------------------------------------------------


@pytest.fixture(params=[pytest.param(False, marks=LONG), True], ids=["warm", "frozen"])
def standing_by(operator: Operator, request: pytest.FixtureRequest) -> Operator:
    """As `operator`, and v2 stands by in slot b."""
    operator.world.stand_by(STANDBY, frozen=request.param, assets=() if request.param else ASSETS)
    operator.deploy("shop", "v1")
    assert operator.stands_by("shop"), operator.world.story()
    return operator


def test_a_rollback_to_what_stands_by_starts_nothing(standing_by: Operator) -> None:
    before = len(standing_by.world.trail)
    assert standing_by.rollback("shop").succeeded
    assert not [line for line in standing_by.world.trail[before:] if "start shop" in line]
    assert not standing_by.stands_by("shop"), "what somebody left is not kept warm"


@pytest.mark.parametrize("late", [0.5, 2.0], ids=["in its time", "later"])
def test_a_rollback_from_one_that_hangs_goes_back_and_not_forth(standing_by: Operator, late: float) -> None:
    standing_by.world.sicken("shop", SlotName.A)
    standing_by.world.clock.sleep(STANDBY * late)
    assert standing_by.rollback("shop").succeeded
    live = standing_by.world.record("shop").live_slot
    assert live is not None
    assert (live.name, live.commit) == (SlotName.B, "v2")


def test_it_ends_at_its_time_with_nobody_typing(standing_by: Operator) -> None:
    standing_by.guardian_of_standby("shop")
    assert standing_by.stands_by("shop"), "too early"
    standing_by.world.clock.sleep(STANDBY)
    standing_by.guardian_of_standby("shop")
    assert not standing_by.world.of("shop", SlotName.B)


def test_who_stands_by_is_asked_for_assets_and_no_longer_when_it_is_told_to_stop(operator: Operator) -> None:
    operator.world.stand_by(STANDBY, assets=ASSETS)
    operator.deploy("shop", "v1")
    assert operator.world.balancer.spare == {operator.world.endpoint("shop", SlotName.B)}
    operator.world.clock.sleep(STANDBY)
    operator.guardian_of_standby("shop")
    assert not operator.world.of("shop", SlotName.B)
    assert not operator.world.balancer.spare


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
def test_a_reboot_ends_it_though_its_runtime_starts_it_again(standing_by: Operator, what: What) -> None:
    standing_by.world.reboot()
    assert standing_by.world.of("shop", SlotName.B), "it was started again"
    for _ in each(standing_by, "up", what):
        standing_by.up()
        assert [one.slot for one in standing_by.world.of("shop")] == [SlotName.A]


def test_up_has_somebody_sleep_until_its_end_and_he_nobody_else(standing_by: Operator) -> None:
    world, apps = standing_by.world, standing_by.world.apps.values()
    world.run("up", [app.name for app in apps], lambda host: up(host, apps))
    assert world.handed_over == {"shop"}
    world.handed_over.clear()
    standing_by.guardian("shop")
    assert not world.handed_over
    assert standing_by.stands_by("shop")


BESIDE = {"recovery", "deploy", "rollback at once", "down"}
"""Commands that `make test` tries beside a drain in the background."""
SHORT = {(command, What.KILL) for command in ("deploy", "rollback", "up", "recovery", "end of the standby")}
SHORT |= {("rollback", What.FAIL), ("deploy of a bad version", What.FAIL)}


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(command, what, marks=() if (command, what) in SHORT else LONG)
        for command in (
            *("deploy", "deploy of a bad version", "rollback", "check", "up", "down", "recovery"),
            "end of the standby",
        )
        for what in (What.KILL, What.FAIL, What.CRASH_B, What.RAISE)
    ],
)
def test_whatever_becomes_of_a_command_beside_what_stands_by_the_next_one_needs_nothing_fixed(
    standing_by: Operator, command: str, what: What
) -> None:
    for _ in each(standing_by, command, what):
        standing_by.world.heal("shop")
        standing_by.up()
        type_["rollback"](standing_by)


@pytest.fixture
def working(mall: Operator) -> Operator:
    """Of mall, a version is live in slot b. The one before stands by, and nobody waits for the job of its worker."""
    mall.world.stand_by(STANDBY)
    mall.deploy("mall", "stubborn")
    assert mall.leave("mall", "v1") == {"mall"}
    assert "mall_a_worker_1" in {one.name for one in mall.world.of("mall")}, mall.world.story()
    return mall


def test_a_rollback_does_not_wait_for_the_job_of_a_worker_and_its_guardian_starts_it_again(
    working: Operator,
) -> None:
    began = working.world.clock.time
    assert working.rollback("mall", guardian=False).succeeded
    assert working.world.clock.time - began < STOP_LIMIT, working.world.story()
    assert working.world.serves("mall")
    working.guardian("mall")


@pytest.mark.parametrize("what", [What.KILL, What.FAIL, pytest.param(What.RAISE, marks=LONG)])
@pytest.mark.parametrize(
    "command", ["rollback of several", "recovery of several", pytest.param("deploy of several", marks=LONG)]
)
def test_whatever_becomes_of_a_command_beside_a_worker_that_finishes_its_job_the_next_one_needs_nothing_fixed(
    working: Operator, command: str, what: What
) -> None:
    for _ in each(working, command, what):
        type_["rollback of several"](working)
        type_["recovery of several"](working)


# -- a candidate is held ---------------------------------------------------------------------------


@pytest.fixture
def holding(operator: Operator) -> Operator:
    """As `operator`, and v3 is held in the slot that is not live."""
    operator.hold("shop", "v3", seconds=STANDBY)
    assert operator.holds("shop"), operator.world.story()
    return operator


def test_a_hold_ends_at_its_time_with_nobody_typing(holding: Operator) -> None:
    holding.guardian_of_standby("shop")
    assert holding.holds("shop"), "too early"
    holding.world.clock.sleep(STANDBY)
    holding.guardian_of_standby("shop")
    assert [one.slot for one in holding.world.of("shop")] == [SlotName.B]
    assert holding.world.journal.history("shop", 1)[0].outcome == "aborted"


def test_what_crashed_while_it_was_held_is_not_promoted_though_it_was_started_again(
    holding: Operator,
) -> None:
    holding.world.crash("shop", SlotName.A)
    holding.world.clock.sleep(10.0)
    assert holding.holds("shop"), "it was started again"
    assert not holding.promote("shop").succeeded
    assert holding.world.serves("shop")
    assert not holding.holds("shop")


@pytest.mark.parametrize("command", ["up", "abort", "guardian"])
def test_what_is_held_does_not_become_live_where_the_live_one_hangs(holding: Operator, command: str) -> None:
    holding.world.sicken("shop", SlotName.B)
    holding.world.clock.sleep(STANDBY if command == "guardian" else STANDBY / 2)
    if command == "up":
        holding.up()
    elif command == "abort":
        holding.abort("shop")
    else:
        holding.guardian_of_standby("shop")
    assert holding.world.record("shop").live is SlotName.B
    assert holding.holds("shop") == (command == "up")


def test_a_hold_does_not_outlive_a_loss_of_power(holding: Operator) -> None:
    holding.world.lose_power(lately_written=True)
    holding.up()
    assert not holding.holds("shop")
    assert holding.world.serves("shop")


def test_a_reboot_ends_a_hold_though_its_runtime_starts_it_again(holding: Operator) -> None:
    holding.world.reboot()
    assert holding.world.of("shop", SlotName.A), "it was started again"
    holding.up()
    assert [one.slot for one in holding.world.of("shop")] == [SlotName.B]
    assert holding.world.journal.history("shop", 1)[0].outcome == "aborted"


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(command, what, marks=() if what is What.KILL else LONG)
        for command in ("hold", "promote", "abort", "deploy", "rollback", "up", "down")
        for what in (What.KILL, What.FAIL, What.INTERRUPT, What.CRASH_A, What.RAISE)
    ],
)
def test_whatever_becomes_of_a_command_beside_what_is_held_the_next_one_needs_nothing_fixed(
    holding: Operator, command: str, what: What
) -> None:
    for _ in each(holding, command, what):
        holding.world.heal("shop")
        holding.up()
        holding.hold("shop", "v3")
        holding.promote("shop")


# -- a canary --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", [What.KILL, *(pytest.param(one, marks=LONG) for one in (What.FAIL, What.INTERRUPT, What.CRASH_A))]
)
@pytest.mark.parametrize("command", ["deploy", pytest.param("promote", marks=LONG)])
def test_whatever_becomes_of_a_canary_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, what: What
) -> None:
    operator.world.run_canary()
    if command == "promote":
        operator.hold("shop", "v3", seconds=STANDBY)
    for _ in each(operator, command, what):
        operator.world.heal("shop")
        operator.guardian("shop")
        operator.deploy("shop", "v3")


# -- the version before drains in the background ---------------------------------------------------


@pytest.fixture
def draining(operator: Operator) -> Operator:
    """As `operator`, but v1 is live in slot a. v2 still has requests in slot b, and nobody waits for them."""
    operator.world.drain_in_background(wanted=True)
    assert operator.leave("shop", "v1") == {"shop"}
    assert {one.slot for one in operator.world.of("shop")} == set(SlotName), operator.world.story()
    return operator


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(command, what, marks=() if what is What.KILL and command in BESIDE else LONG)
        for command in (
            *(
                "recovery",
                "deploy",
                "deploy at once",
                "rollback",
                "rollback at once",
                "restart",
                "check",
                "up",
            ),
            *("down", "hold"),
        )
        for what in (What.KILL, What.FAIL, What.INTERRUPT, What.CRASH_A, What.CRASH_B, What.RAISE)
    ],
)
def test_whatever_becomes_of_a_command_beside_a_drain_in_the_background_the_next_one_needs_nothing_fixed(
    draining: Operator, command: str, what: What
) -> None:
    for _ in each(draining, command, what):
        draining.world.heal("shop")
        draining.guardian("shop")
        type_["rollback"](draining)


# -- streams that are ended in waves ---------------------------------------------------------------


@pytest.mark.parametrize("what", [What.KILL, pytest.param(What.FAIL, marks=LONG)])
def test_streams_end_in_their_time_whatever_becomes_of_the_command_that_ends_them(
    operator: Operator, what: What
) -> None:
    operator.world.end_in_waves()
    operator.deploy("shop", "streaming")
    for _ in each(operator, "deploy", what):
        operator.up()
        if operator.world.record("shop").live is SlotName.B:
            assert "end the streams" in operator.world.story()


# -- an app that must not run twice ----------------------------------------------------------------


@pytest.fixture
def lonely(operator: Operator) -> Operator:
    """As `operator`, and no two versions of shop may run at the same time."""
    operator.world.run_once("shop")
    operator.up()
    return operator


USUAL = {("deploy", What.KILL), ("deploy of a bad version", What.KILL), ("rollback", What.KILL)}
USUAL |= {("deploy of a bad version", What.FAIL), ("recovery", What.LOSE_RUNTIME)}
ALONE = ("deploy", "deploy of a bad version", "rollback", "restart", "check", "start", "stop", "up", "down")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(command, what, marks=() if (command, what) in USUAL else LONG)
        for command in (*ALONE, "recovery")
        for what in (What.KILL, What.FAIL, What.INTERRUPT, What.CRASH_A, What.CRASH_B, What.LOSE_RUNTIME)
    ],
)
def test_whatever_becomes_of_a_command_it_never_runs_twice_and_the_next_one_needs_nothing_fixed(
    lonely: Operator, command: str, what: What
) -> None:
    for _ in each(lonely, command, what):
        lonely.world.heal("shop")
        type_["recovery"](lonely)
        type_["deploy"](lonely)


@pytest.mark.long
def test_killed_and_killed_in_settling_that_it_never_runs_twice(lonely: Operator) -> None:
    for _ in each(lonely, "deploy of a bad version", What.KILL):
        for _ in each(lonely, "recovery", What.KILL):
            type_["rollback"](lonely)


# -- an app that was not started here -------------------------------------------------------------

KEEPER = Keeper("the unit", start=("unit", "start"), stop=("unit", "stop"), forget="unit disable")


@pytest.fixture(params=[None, KEEPER], ids=["nothing keeps it", "a unit keeps it"])
def beside(operator: Operator, request: pytest.FixtureRequest) -> Operator:
    """As `operator`, and an app that somebody else started serves on a port of blog's."""
    operator.world.strangers.come_along("blog", request.param)
    return operator


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
@pytest.mark.parametrize("then", ["up", "adopt", "down"])
def test_whatever_becomes_of_an_adoption_the_app_goes_on_and_the_next_command_needs_nothing_fixed(
    beside: Operator, what: What, then: str
) -> None:
    for _ in each(beside, "adopt", what):
        assert beside.world.is_ready(beside.world.endpoint("blog", SlotName.A)), beside.world.story()
        type_[then](beside)
        if then == "adopt":
            assert beside.world.serves("blog"), beside.world.story()
            type_["deploy over it"](beside)


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
@pytest.mark.parametrize("command", ["deploy over it", "deploy of a bad version over it"])
def test_whatever_becomes_of_a_command_over_an_adopted_app_the_next_one_needs_nothing_fixed(
    beside: Operator, command: str, what: What
) -> None:
    beside.adopt("blog")
    for _ in each(beside, command, what):
        beside.up()
        type_["deploy over it"](beside)


# -- an app of several processes ------------------------------------------------------------------


@pytest.fixture
def mall() -> Iterator[Operator]:
    """Two versions of an app with two web instances and two workers were deployed; slot b is live."""
    world = World()
    made = Operator(world)
    made.deploy("mall", "v1")
    made.deploy("mall", "v2")
    yield made
    world.close()


@pytest.mark.parametrize("what", [What.KILL, What.FAIL, pytest.param(What.RAISE, marks=LONG)])
@pytest.mark.parametrize(
    "command",
    [
        "deploy of several",
        *(
            pytest.param(one, marks=LONG)
            for one in ("deploy of a bad version of several", "rollback of several")
        ),
    ],
)
def test_whatever_becomes_of_a_deployment_of_several_processes_the_next_command_needs_nothing_fixed(
    mall: Operator, command: str, what: What
) -> None:
    for _ in each(mall, command, what):
        type_["recovery of several"](mall)


@pytest.mark.parametrize("only", range(4))
def test_one_instance_that_crashed_for_good_is_started_again_and_no_other_is_touched(
    mall: Operator, only: int
) -> None:
    mall.world.runtime.lose()
    mall.world.crash("mall", SlotName.B, only=only)
    before = {one.name: one.process for one in mall.world.of("mall") if one.process_type == "web"}
    mall.up()
    after = {one.name: one.process for one in mall.world.of("mall")}
    assert before.items() <= after.items()
    mall.hold_to_settled("mall")


@pytest.mark.parametrize("what", [What.KILL, What.FAIL])
def test_whatever_becomes_of_a_recovery_of_several_processes_the_next_one_needs_nothing_fixed(
    mall: Operator, what: What
) -> None:
    for only in range(4):
        mall.world.crash("mall", SlotName.B, only=only)
    mall.world.runtime.lose()
    for _ in each(mall, "recovery of several", what):
        mall.guardian("mall")


# -- crons ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [What.KILL, What.FAIL, What.RAISE])
def test_whatever_becomes_of_a_scheduler_nothing_runs_twice_and_the_next_one_needs_nothing_fixed(
    mall: Operator, what: What
) -> None:
    mall.world.clock.sleep(200.0)
    for _ in each(mall, "schedule", what):
        mall.schedule()
        assert set(mall.world.rules.began.values()) <= {1}
        assert {cron for _, cron, _ in mall.world.rules.began} <= {"digest", "tidy"}


@pytest.mark.parametrize("command", ["deploy of several", "rollback of several"])
def test_a_switch_that_is_killed_anywhere_runs_nothing_twice_nor_in_what_is_not_live(
    mall: Operator, command: str
) -> None:
    for _ in each(mall, command, What.KILL):
        mall.world.clock.sleep(60.0)
        mall.schedule()
        mall.guardian("mall")
        mall.schedule()
