"""Any sequence of commands, each with what happens in its middle, and what happens between them."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from substitute.core.model.slots import SlotName
from substitute.core.state.hand_lock import take_away
from tests.unit.model.operator import Operator
from tests.unit.world.apps import PORTS
from tests.unit.world.mishaps import Mishap, What
from tests.unit.world.versions import BAD, GOOD
from tests.unit.world.world import World

APPS = st.sampled_from(tuple(PORTS))
SLOTS = st.sampled_from(tuple(SlotName))
STANDBY = 60.0
"""Seconds that a version stands by, where one does."""
ASSETS = ("/assets/",)
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

    @initialize(
        versions=st.lists(st.sampled_from(GOOD), max_size=2),
        run=st.sampled_from((None, None, *SlotName)),
        releases=st.sampled_from((2, 3)),
        standby=st.sampled_from((0.0, 0.0, STANDBY, math.inf)),
        frozen=st.booleans(),
        in_background=st.booleans(),
        in_waves=st.booleans(),
        once=st.booleans(),
        canary=st.booleans(),
    )
    def begin(
        self,
        versions: list[str],
        run: SlotName | None,
        releases: int,
        standby: float,
        *,
        frozen: bool,
        in_background: bool,
        in_waves: bool,
        once: bool,
        canary: bool,
    ) -> None:
        self.world.keep(releases)
        self.world.stand_by(standby, frozen=frozen, assets=() if frozen else ASSETS)
        self.world.drain_in_background(wanted=in_background)
        if in_waves:
            self.world.end_in_waves()
        if canary:
            self.world.run_canary()
        if once:
            self.world.run_once("shop")
        for version in versions:
            self.operator.deploy("shop", version)
        if run:
            self.operator.run("shop", run)

    @rule(app=APPS, version=VERSIONS, mishaps=MISHAPS, now=st.booleans())
    def deploy(self, app: str, version: str, mishaps: list[Mishap], *, now: bool) -> None:
        self.operator.deploy(app, version, *mishaps, now=now)

    @rule(app=APPS, mishaps=MISHAPS, to=st.sampled_from((None, None, *GOOD)), force=st.booleans())
    def rollback(self, app: str, mishaps: list[Mishap], to: str | None, *, force: bool) -> None:
        self.operator.rollback(app, *mishaps, to=to, force=force)

    @rule(app=APPS, version=VERSIONS, mishaps=MISHAPS)
    def hold(self, app: str, version: str, mishaps: list[Mishap]) -> None:
        self.operator.hold(app, version, *mishaps, seconds=STANDBY)

    @rule(app=APPS, mishaps=MISHAPS, promoted=st.booleans())
    def decide(self, app: str, mishaps: list[Mishap], *, promoted: bool) -> None:
        (self.operator.promote if promoted else self.operator.abort)(app, *mishaps)

    @rule(app=APPS, mishaps=MISHAPS)
    def end_standby(self, app: str, mishaps: list[Mishap]) -> None:
        self.operator.end_standby(app, *mishaps)

    @rule(app=APPS, mishaps=MISHAPS)
    def time_of_a_standby(self, app: str, mishaps: list[Mishap]) -> None:
        self.world.clock.sleep(STANDBY)
        self.operator.guardian_of_standby(app, *mishaps)

    @rule(releases=st.sampled_from((2, 3)))
    def keep(self, releases: int) -> None:
        self.world.keep(releases)

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
        first, step = PORTS[app][0], 10 if app == "mall" else 1
        a, b = (first + (port - 3001) * step for port in ports)
        self.world.edit(app, (a, b), page)

    @rule(app=APPS, slot=st.sampled_from((None, None, *SlotName)), mishaps=MISHAPS)
    def run(self, app: str, slot: SlotName | None, mishaps: list[Mishap]) -> None:
        self.operator.run(app, slot, *mishaps)

    @rule(stopped=st.booleans(), mishaps=MISHAPS)
    def end_runs(self, mishaps: list[Mishap], *, stopped: bool) -> None:
        if stopped:
            self.operator.stop_run(*mishaps)
        self.operator.end_runs()

    @rule(app=APPS, shared=st.booleans())
    def share(self, app: str, *, shared: bool) -> None:
        self.world.share(app, shared=shared)

    @rule(app=st.sampled_from((None, *PORTS)))
    def toggle_lock(self, app: str | None) -> None:
        self.operator.toggle_lock(app)

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

    @rule(slot=SLOTS, only=st.integers(0, 3))
    def crash_one(self, slot: SlotName, only: int) -> None:
        self.world.crash("mall", slot, only=only)

    @rule(app=APPS, slot=SLOTS)
    def sicken(self, app: str, slot: SlotName) -> None:
        self.world.sicken(app, slot)

    @rule(
        lose=st.sampled_from(("runtime", "balancer", "power", "power, and what was not waited for", "boot"))
    )
    def lose(self, lose: str) -> None:
        if lose == "runtime":
            self.world.runtime.lose()
        elif lose == "balancer":
            self.world.balancer.lose()
        elif lose == "boot":
            self.world.reboot()
        else:
            self.world.lose_power(lately_written=lose == "power")

    @rule(seconds=st.sampled_from((0.0, 60.0, 200.0)), mishaps=MISHAPS)
    def schedule(self, seconds: float, mishaps: list[Mishap]) -> None:
        self.world.clock.sleep(seconds)
        self.operator.schedule(*mishaps)

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
                for app in (None, *PORTS):
                    take_away(self.world.journal, app)
                self.operator.end_runs()
                self.operator.up()
                self.operator.deploy("shop", "v1")
        finally:
            self.world.close()
