"""The specification of the tool, as a model: whatever is typed, crashes or is killed, in any order.

`world.World` holds each deed of a deployer against the rules of the contract, while it is done. Here stands what is
promised of each command where nothing disturbs it, and that this holds after any trouble too: no state needs fixing.

The sequences are the same each time, so that a red one tells of the change and not of luck. For others, and more:
``SEQUENCES=50000 pytest tests/unit/test_model.py -k sequence``; ``make test-long`` runs those and the whole matrices.
"""

from __future__ import annotations

import gc
import os
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from substitute.core.check.check import check
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.model.errors import SubstituteError, UsageError
from substitute.core.model.slots import SlotName
from substitute.core.operate import manual, root
from substitute.core.operate.adoption import adopt
from substitute.core.ports.strangers import Keeper
from substitute.core.state.lock import RECOVERY
from tests.unit.world import BAD, GOOD, GUEST, GUEST_PORT, LEFT_ALONE, PORTS, Mishap, Outcome, What, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.host import Host

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # who is killed closes no file
    pytest.mark.timeout(3600),
]


@pytest.fixture(autouse=True)
def buried() -> Iterator[None]:
    """The dead are collected with the test that killed them, and not in the middle of another one."""
    yield
    gc.collect()


class Operator:
    """Types commands, and holds each to its promise where nothing disturbed it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def deploy(self, app: str, version: str, *mishaps: Mishap) -> Outcome:
        outcome = self._type("deploy", app, lambda host: deploy(host, self.world.apps[app], version), mishaps)
        if not outcome.disturbed and version in GOOD:
            self._promised("a good version is deployed", outcome.succeeded)
            live = self.world.record(app).live_slot
            self._promised("it is live", live is not None and live.commit == version)
            self._promised("it serves", self.world.serves(app))
            self.hold_to_settled(app)
        elif not outcome.disturbed:
            status = 1 if self.world.serves(app) else 4
            self._promised("a bad version is refused", isinstance(outcome.error, SubstituteError))
            self._promised(f"the exit status is {status}", _exit_status(outcome) == status)
            self.hold_to_settled(app)
        return outcome

    def rollback(self, app: str, *mishaps: Mishap) -> Outcome:
        outcome = self._type("rollback", app, lambda host: rollback(host, self.world.apps[app]), mishaps)
        if not outcome.disturbed:
            fine = self.world.serves(app) if outcome.succeeded else isinstance(outcome.error, UsageError)
            self._promised("an earlier version serves, or there is none", fine)
            self.hold_to_settled(app)
        return outcome

    def restart(self, app: str, *mishaps: Mishap) -> Outcome:
        live = self.world.record(app).live_slot
        known = live is not None and live.commit is not None
        outcome = self._type("restart", app, lambda host: restart(host, self.world.apps[app]), mishaps)
        if not outcome.disturbed:
            fine = self.world.serves(app) if outcome.succeeded else isinstance(outcome.error, UsageError)
            self._promised("the live version serves, or there is none", fine and outcome.succeeded == known)
            self.hold_to_settled(app)
        return outcome

    def adopt(self, app: str, *mishaps: Mishap) -> Outcome:
        strangers = [one for one in self.world.of(app) if one.stranger]
        known = self.world.record(app).live is not None
        act = lambda host: adopt(host, self.world.apps[app], None, listed=True)  # noqa: E731
        outcome = self._type("adopt", app, act, mishaps)
        self._promised("what is adopted goes on", all(one in self.world.of(app) for one in strangers))
        if not outcome.disturbed:
            self._promised("what runs is adopted, once", outcome.succeeded == (bool(strangers) and not known))
        if not outcome.disturbed and outcome.succeeded:
            self._promised("it serves", self.world.serves(app))
            self.hold_to_settled(app)
        return outcome

    def check(self, app: str, version: str, *mishaps: Mishap) -> Outcome:
        outcome = self._type("check", app, lambda host: check(host, self.world.apps[app], version), mishaps)
        if not outcome.disturbed:
            self._promised("a version that runs is judged", outcome.succeeded == (version in GOOD))
            self.hold_to_settled(app)
        return outcome

    def start(self, app: str, slot: SlotName, *mishaps: Mishap) -> Outcome:
        # The port that an earlier refusal has named.
        self.world.journal.register(self.world.apps[app])
        instance = self.world.record(app).slots[slot]
        name, directory, port = f"{app}_{slot}", instance.directory, instance.endpoints[0].port
        act = lambda host: manual.start(host, self.world.apps, name, directory, port)  # noqa: E731
        was_live = self.world.record(app).live is slot
        outcome = self._type("start", app, act, mishaps)
        if was_live and _exit_status(outcome) == 1:
            self._promised("where nothing serves, the exit status is 4", self.world.serves(app))
        if not outcome.disturbed and (was_live or self.world.record(app).live is slot):
            serves = self.world.serves(app) and self.world.record(app).live is slot
            self._promised("the live slot serves again, or it says so", outcome.succeeded == serves)
            self.hold_to_settled(app)
        elif not outcome.disturbed:
            runs, share = len(self.world.of(app, slot)), self.world.shares(app)[slot]
            self._promised("another stands by, without requests", (runs, share) == (outcome.succeeded, 0))
        return outcome

    def stop(self, app: str, slot: SlotName, *mishaps: Mishap, force: bool = False) -> Outcome:
        record = self.world.record(app)
        command = "stop --force" if force and record.live is slot and not record.stopped else "stop"
        act = lambda host: manual.stop(host, self.world.apps, f"{app}_{slot}", force=force)  # noqa: E731
        outcome = self._type(command, app, act, mishaps)
        if not outcome.disturbed:
            record = self.world.record(app)
            refused = isinstance(outcome.error, UsageError) and record.live is slot and not record.stopped
            self._promised("what serves is stopped by force alone", outcome.succeeded or refused)
            if outcome.succeeded:
                self._promised("what is stopped does not run", not self.world.of(app, slot))
                self.hold_to_settled(app)
        return outcome

    def up(self, *mishaps: Mishap) -> Outcome:
        outcome = self._type("up", None, lambda host: root.up(host, self.world.apps.values()), mishaps)
        if not outcome.disturbed:
            down = [
                app for app in self.world.apps if self.world.should_serve(app) and not self.world.serves(app)
            ]
            self._promised("all that should serve does, or it says so", outcome.succeeded == (not down))
            for app in self.world.apps:
                self.hold_to_settled(app)
            self._promised("each guest runs", len(self.world.guests()) == len(self.world.journal.guests()))
        return outcome

    def start_guest(self, *mishaps: Mishap) -> Outcome:
        place = self.world.guests_place
        act = lambda host: manual.start(host, self.world.apps, GUEST, place, GUEST_PORT)  # noqa: E731
        outcome = self._type("start guest", None, act, mishaps)
        if not outcome.disturbed:
            self._promised("a guest runs, once", outcome.succeeded and len(self.world.guests()) == 1)
            self._promised("it is remembered", list(self.world.journal.guests()) == [GUEST])
        return outcome

    def stop_guest(self, *mishaps: Mishap) -> Outcome:
        known = GUEST in self.world.journal.guests()
        act = lambda host: manual.stop(host, self.world.apps, GUEST)  # noqa: E731
        outcome = self._type("stop guest", None, act, mishaps)
        if not outcome.disturbed:
            self._promised("a guest that is known is stopped", outcome.succeeded == known)
            self._promised("and forgotten", not self.world.journal.guests() and not self.world.guests())
        return outcome

    def guardian(self, app: str, *mishaps: Mishap) -> Outcome:
        """Nobody types it: it wakes up when a deployer dies."""
        chosen = [self.world.apps[app]]
        act = lambda host: root.up(host, chosen, guests=False, operation=RECOVERY)  # noqa: E731
        outcome = self._type("recovery", app, act, mishaps)
        if not outcome.disturbed:
            self.hold_to_settled(app)
        return outcome

    def down(self, *mishaps: Mishap, everything: bool = True) -> Outcome:
        guests = list(self.world.journal.guests())
        act = lambda host: root.down(host, self.world.apps.values(), everything=everything)  # noqa: E731
        outcome = self._type("down", None, act, mishaps)
        if not outcome.disturbed:
            self._promised("all is down", outcome.succeeded)
            ours = [one for one in self.world.instances if not self.world.is_strange(one)]
            left = [one for one in ours if everything or one not in self.world.guests()]
            self._promised("nothing runs", not left and not self.world.builds)
            self._promised("guests are remembered", list(self.world.journal.guests()) == guests)
        return outcome

    def _type(
        self, command: str, app: str | None, act: Callable[[Host], object], mishaps: tuple[Mishap, ...]
    ) -> Outcome:
        apps = [app] if app else list(self.world.apps)
        if command in {"down", "stop --force"}:
            self.world.retired |= set(apps)
        elif command not in {"stop", "check", "recovery", "start guest", "stop guest"}:
            self.world.retired -= set(apps)
        outcome = self.world.run(command, apps, act, mishaps)
        for left in sorted(self.world.handed_over):
            self.world.handed_over.clear()
            self.guardian(left)
        return outcome

    def hold_to_settled(self, app: str) -> None:
        """Rule 5: journal live == routed == running; and nothing is left of what was under way."""
        world, record = self.world, self.world.record(app)
        live = None if record.stopped else record.live
        shares = {slot: 100 if slot is live else 0 for slot in SlotName}
        self._promised("the live slot gets all requests", world.shares(app) == shares)
        self._promised(
            "it runs, and nothing else",
            [one.slot for one in world.of(app) if not world.is_strange(one)]
            == [slot for slot in [live] if slot],
        )
        kept = {name for name in world.runtime.kept() if name.startswith(app)}
        self._promised("nothing else is kept running", kept <= {f"{app}_{live}"})
        self._promised("no deployment is under way", not world.journal.unfinished(app))
        self._promised("no build runs", not [at for at in world.builds.values() if at.name.startswith(app)])
        signposts = (world.signpost(app), world.current(app))
        self._promised("signposts tell the truth", signposts == (record.next_slot, record.live))

    def _promised(self, what: str, kept: bool) -> None:  # noqa: FBT001
        self.world.promised(what, kept=kept)


def _exit_status(outcome: Outcome) -> int | None:
    return outcome.error.exit_status if isinstance(outcome.error, SubstituteError) else None


# -- any sequence ---------------------------------------------------------------------------------

APPS = st.sampled_from(tuple(PORTS))
SLOTS = st.sampled_from(tuple(SlotName))
PAIRS = st.sampled_from([(a, b) for a in (3001, 3002, 3003) for b in (3001, 3002, 3003) if a != b])
VERSIONS = st.sampled_from((*GOOD, *BAD))
MISHAPS = st.lists(
    st.builds(
        Mishap, st.sampled_from((What.KILL, What.FAIL, What.INTERRUPT, What.SIGNAL)), st.integers(1, 45)
    )
    | st.builds(Mishap, st.sampled_from(What), st.integers(1, 150)),
    max_size=2,
)


class Model(RuleBasedStateMachine):
    """Commands, each with what happens in its middle, and what happens between them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.operator = Operator(self.world)

    @initialize(versions=st.lists(st.sampled_from(GOOD), max_size=2))
    def begin(self, versions: list[str]) -> None:
        for version in versions:
            self.operator.deploy("shop", version)

    @rule(app=APPS, version=VERSIONS, mishaps=MISHAPS)
    def deploy(self, app: str, version: str, mishaps: list[Mishap]) -> None:
        self.operator.deploy(app, version, *mishaps)

    @rule(app=APPS, mishaps=MISHAPS)
    def rollback(self, app: str, mishaps: list[Mishap]) -> None:
        self.operator.rollback(app, *mishaps)

    @rule(app=APPS, mishaps=MISHAPS)
    def restart(self, app: str, mishaps: list[Mishap]) -> None:
        self.operator.restart(app, *mishaps)

    @rule(app=APPS, version=VERSIONS, mishaps=MISHAPS)
    def check(self, app: str, version: str, mishaps: list[Mishap]) -> None:
        self.operator.check(app, version, *mishaps)

    @rule(app=APPS, slot=SLOTS, mishaps=MISHAPS)
    def start(self, app: str, slot: SlotName, mishaps: list[Mishap]) -> None:
        self.operator.start(app, slot, *mishaps)

    @rule(app=APPS, slot=SLOTS, force=st.booleans(), mishaps=MISHAPS)
    def stop(self, app: str, slot: SlotName, mishaps: list[Mishap], *, force: bool) -> None:
        self.operator.stop(app, slot, *mishaps, force=force)

    @rule(mishaps=MISHAPS)
    def up(self, mishaps: list[Mishap]) -> None:
        self.operator.up(*mishaps)

    @rule(app=APPS, mishaps=MISHAPS)
    def guardian(self, app: str, mishaps: list[Mishap]) -> None:
        self.operator.guardian(app, *mishaps)

    @rule(app=APPS, ports=PAIRS, page=st.sampled_from(("/", "/up")))
    def edit(self, app: str, ports: tuple[int, int], page: str) -> None:
        offset = 0 if app == "shop" else 1000
        self.world.edit(app, (ports[0] + offset, ports[1] + offset), page)

    @rule(mishaps=MISHAPS)
    def start_guest(self, mishaps: list[Mishap]) -> None:
        self.operator.start_guest(*mishaps)

    @rule(mishaps=MISHAPS)
    def stop_guest(self, mishaps: list[Mishap]) -> None:
        self.operator.stop_guest(*mishaps)

    @rule(everything=st.booleans(), mishaps=MISHAPS)
    def down(self, mishaps: list[Mishap], *, everything: bool) -> None:
        self.operator.down(*mishaps, everything=everything)

    @rule(app=APPS, slot=SLOTS)
    def crash(self, app: str, slot: SlotName) -> None:
        self.world.crash(app, slot)

    @rule(app=APPS, slot=SLOTS)
    def sicken(self, app: str, slot: SlotName) -> None:
        self.world.sicken(app, slot)

    @rule(lose=st.sampled_from(("runtime", "balancer", "power", "power, and what was not waited for")))
    def lose(self, lose: str) -> None:
        if lose == "runtime":
            self.world.runtime.lose()
        elif lose == "balancer":
            self.world.balancer.lose()
        else:
            self.world.lose_power(lately_written=lose == "power")

    @rule()
    def copy(self) -> None:
        self.world.become_a_copy()

    @rule(seconds=st.sampled_from((0.1, 10.0)), app=APPS)
    def wait(self, seconds: float, app: str) -> None:
        self.world.clock.sleep(seconds)
        self.world.heal(app)

    def teardown(self) -> None:
        """From wherever it has come to, one `settle` is enough, and the next version can be deployed."""
        try:
            if not self.world.wrongs:
                self.operator.up()
                self.operator.deploy("shop", "v1")
        finally:
            self.world.close()


SEQUENCES = os.environ.get("SEQUENCES")


def test_the_rules_hold_in_any_sequence() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=int(SEQUENCES or 600),
            derandomize=not SEQUENCES,
            database=None,
            stateful_step_count=7,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- each deed of each command --------------------------------------------------------------------

type_: dict[str, Callable[..., Outcome]] = {
    "deploy": lambda operator, *mishaps: operator.deploy("shop", "v3", *mishaps),
    "deploy of what the slot holds": lambda operator, *mishaps: operator.deploy("shop", "v1", *mishaps),
    "deploy of a bad version": lambda operator, *mishaps: operator.deploy("shop", "sick", *mishaps),
    "first deploy": lambda operator, *mishaps: operator.deploy("blog", "v1", *mishaps),
    "rollback": lambda operator, *mishaps: operator.rollback("shop", *mishaps),
    "restart": lambda operator, *mishaps: operator.restart("shop", *mishaps),
    "check": lambda operator, *mishaps: operator.check("shop", "v3", *mishaps),
    "start": lambda operator, *mishaps: operator.start("shop", SlotName.A, *mishaps),
    "stop": lambda operator, *mishaps: operator.stop("shop", SlotName.B, *mishaps, force=True),
    "up": lambda operator, *mishaps: operator.up(*mishaps),
    "down": lambda operator, *mishaps: operator.down(*mishaps),
    "recovery": lambda operator, *mishaps: operator.guardian("shop", *mishaps),
    "start guest": lambda operator, *mishaps: (operator.stop_guest(), operator.start_guest(*mishaps))[1],
    "stop guest": lambda operator, *mishaps: operator.stop_guest(*mishaps),
}
COMMANDS = tuple(type_)
type_["start of the live slot"] = lambda operator, *mishaps: operator.start("shop", SlotName.B, *mishaps)
DEPLOYMENTS = (
    *("deploy", "deploy of what the slot holds", "deploy of a bad version"),
    *("first deploy", "rollback", "restart", "check"),
)
"""What is given up as a whole where one thing goes wrong, or is done as a whole."""


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


def each(operator: Operator, command: str, what: What) -> Iterator[Outcome]:
    """Type `command` again and again from the same point, with `what` one moment later each time."""
    before = operator.world.remember()
    for at in count(1):
        operator.world.go_back(before)
        outcome = type_[command](operator, Mishap(what, at))
        if not outcome.disturbed:
            assert at > 3
            return
        yield outcome


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "then", ["the same", *(pytest.param(then, marks=LONG) for then in ("up", "deploy", "down"))]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_deed_the_next_command_needs_nothing_fixed(
    operator: Operator, command: str, then: str
) -> None:
    for killed in each(operator, command, What.KILL):
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
        before = operator.world.remember()
        operator.world.balancer.blind_until = operator.world.clock.time + 0.1
        operator.guardian("shop", Mishap(What.FAIL, at))
        operator.world.go_back(before)


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


# -- an app that was not started here -------------------------------------------------------------

KEEPER = Keeper("the unit", start=("unit", "start"), stop=("unit", "stop"), forget="unit disable")
type_ |= {
    "adopt": lambda operator, *mishaps: operator.adopt("blog", *mishaps),
    "deploy over it": lambda operator, *mishaps: operator.deploy("blog", "v2", *mishaps),
    "deploy of a bad version over it": lambda operator, *mishaps: operator.deploy("blog", "sick", *mishaps),
}


@pytest.fixture(params=[None, KEEPER], ids=["nothing keeps it", "a unit keeps it"])
def beside(operator: Operator, request: pytest.FixtureRequest) -> Operator:
    """As `operator`, and an app that somebody else started serves on a port of blog's."""
    operator.world.come_along("blog", request.param)
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
