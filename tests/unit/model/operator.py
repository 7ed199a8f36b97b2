"""Somebody who types commands, and holds each to its promise where nothing disturbed it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from substitute.core.check.check import check
from substitute.core.deploy.deployment import deploy, promote, restart, rollback
from substitute.core.deploy.holding import abort
from substitute.core.model.crons import SCHEDULER
from substitute.core.model.errors import LockedError, SubstituteError, UsageError
from substitute.core.model.slots import SlotName
from substitute.core.operate import manual, one_offs, root, scheduling, standbys
from substitute.core.operate.adoption import adopt
from substitute.core.state.hand_lock import HandLock, locks_on, put, take_away
from substitute.core.state.lock import RECOVERY
from tests.unit.world.apps import GUEST, GUEST_PORT
from tests.unit.world.files import NAME, TRACKED
from tests.unit.world.versions import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from tests.unit.world.mishaps import Mishap, Outcome
    from tests.unit.world.world import World


class Operator:
    """Types commands, and holds each to its promise where nothing disturbed it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def deploy(self, app: str, version: str, *mishaps: Mishap, now: bool = False) -> Outcome:
        act = lambda host: deploy(host, self.world.apps[app], version, now=now)  # noqa: E731
        if locks_on(self.world.journal, app):
            return self._refused(app, act)
        if self.world.runs_where_next(app):
            return self._held_up(app, "deploy", act, mishaps)
        outcome = self._type("deploy", app, act, mishaps)
        self._promised_shared(app, outcome)
        if not outcome.disturbed and version in GOOD:
            self._promised("a good version is deployed", outcome.succeeded)
            live = self.world.record(app).live_slot
            self._promised("it is live", live is not None and live.commit == version)
            self._promised("it serves", self.world.serves(app))
            deployment = self.world.journal.history(app, 1)[0]
            is_new, released = (
                deployment.previous != version,
                (app, deployment.id) in self.world.rules.releases,
            )
            self._promised("its release has run, unless it was live", released == is_new)
            self.hold_to_settled(app)
        elif not outcome.disturbed:
            status = 1 if self.world.serves(app) else 4
            self._promised("a bad version is refused", isinstance(outcome.error, SubstituteError))
            self._promised(f"the exit status is {status}", _exit_status(outcome) == status)
            self.hold_to_settled(app)
        return outcome

    def hold(self, app: str, version: str, *mishaps: Mishap, seconds: float = 60.0) -> Outcome:
        act = lambda host: deploy(host, self.world.apps[app], version, hold_for=seconds)  # noqa: E731
        runs_once = self.world.apps[app].runs_once
        if locks_on(self.world.journal, app) and not runs_once:  # that is refused first, locked or not
            return self._refused(app, act)
        if self.world.runs_where_next(app):
            return self._held_up(app, "deploy", act, mishaps)
        live = self.world.record(app).live
        outcome = self._type("deploy", app, act, mishaps)
        if runs_once:
            refused = outcome.disturbed or isinstance(outcome.error, UsageError)
            self._promised("what must not run twice is not held", refused)
        elif not outcome.disturbed:
            self._promised("a good version is held, and no other", outcome.succeeded == (version in GOOD))
            self._promised("it is", self.holds(app) == outcome.succeeded)
            self._promised("and does not become live", self.world.record(app).live is live)
            self.hold_to_settled(app)
        return outcome

    def promote(self, app: str, *mishaps: Mishap) -> Outcome:
        act = lambda host: promote(host, self.world.apps[app])  # noqa: E731
        if locks_on(self.world.journal, app):
            return self._refused(app, act)
        record, now = self.world.record(app), self.world.host.clock.now()
        slot, held = record.holds(now), self.holds(app)
        crashed = held and slot is not None and self.world.has_crashed(slot)
        outcome = self._type("promote", app, act, mishaps)
        if not outcome.disturbed:
            if slot is None:
                self._promised("nothing is held", isinstance(outcome.error, UsageError))
            if crashed:
                self._promised("what has crashed is not promoted", not outcome.succeeded)
            if held and outcome.succeeded and slot:
                self._promised("what was held is live", self.world.record(app).live is slot.name)
                self._promised("it serves", self.world.serves(app))
            if held:
                self._promised("it is held no more", not self.holds(app))
            self.hold_to_settled(app)
        return outcome

    def abort(self, app: str, *mishaps: Mishap) -> Outcome:
        slot = self.world.record(app).holds(self.world.host.clock.now())
        held = slot is not None
        outcome = self._type("abort", app, lambda host: abort(host, self.world.apps[app]), mishaps)
        if slot:
            self._promised("and does not become live", self.world.record(app).live is not slot.name)
        if not outcome.disturbed:
            self._promised("what is held is aborted, and nothing else is", outcome.succeeded == held)
            self._promised("it is held no more", not self.holds(app))
            if held:
                self.hold_to_settled(app)
        return outcome

    def holds(self, app: str) -> bool:
        """Whether a candidate of it waits for a person."""
        slot = self.world.record(app).holds(self.world.host.clock.now())
        return slot is not None and bool(self.world.of(app, slot.name))

    def leave(self, app: str, version: str) -> set[str]:
        """Deploy it; whoever is to finish what that leaves comes to nothing. The apps for which somebody was to."""
        self.world.run("deploy", [app], lambda host: deploy(host, self.world.apps[app], version))
        left = set(self.world.handed_over)
        self.world.handed_over.clear()
        return left

    def rollback(
        self,
        app: str,
        *mishaps: Mishap,
        to: str | None = None,
        force: bool = False,
        now: bool = False,
        guardian: bool = True,
    ) -> Outcome:
        act = lambda host: rollback(host, self.world.apps[app], to, force=force, now=now)  # noqa: E731
        if not guardian:
            outcome = self.world.run("rollback", [app], act)
            self.world.handed_over.clear()
            return outcome
        left = self.world.record(app).live_slot
        outcome = self._type("rollback", app, act, mishaps)
        self._promised_shared(app, outcome)
        if not outcome.disturbed:
            if outcome.succeeded and left and to is None:
                live = self.world.record(app).live_slot
                self._promised(
                    "what was live is not any more", live is not None and live.commit != left.commit
                )
            live, refused = self.world.record(app).live_slot, "across a contract" in str(outcome.error)
            self._promised("force goes back across a contract", not (force and refused))
            survives = live is None or self.world.rules.survives(app, live.commit)
            self._promised("else none does", force or survives or not outcome.succeeded)
            fine = self.world.serves(app) if outcome.succeeded else isinstance(outcome.error, UsageError)
            self._promised("an earlier version serves, or there is none", fine)
            self.hold_to_settled(app)
        return outcome

    def restart(self, app: str, *mishaps: Mishap) -> Outcome:
        if locks_on(self.world.journal, app):
            return self._refused(app, lambda host: restart(host, self.world.apps[app]))
        if self.world.runs_where_next(app):
            return self._held_up(app, "restart", lambda host: restart(host, self.world.apps[app]), mishaps)
        live = self.world.record(app).live_slot
        known = live is not None and live.commit is not None
        outcome = self._type("restart", app, lambda host: restart(host, self.world.apps[app]), mishaps)
        if not outcome.disturbed:
            fine = self.world.serves(app) if outcome.succeeded else isinstance(outcome.error, UsageError)
            self._promised("the live version serves, or there is none", fine and outcome.succeeded == known)
            self.hold_to_settled(app)
        return outcome

    def run(self, app: str, slot: SlotName | None, *mishaps: Mishap) -> Outcome:
        """Somebody runs a command, which goes on while others are typed."""
        known = set(self.world.runs)
        record = self.world.record(app)
        wanted = slot or record.live
        act = lambda host: one_offs.run(host, self.world.apps[app], ["sh"], slot=slot)  # noqa: E731
        outcome = self._type("run", app, act, mishaps)
        begun = [place for process, place in self.world.runs.items() if process not in known]
        if not outcome.disturbed:
            chosen = record.slots[wanted] if wanted and record.live else None
            fine = chosen is not None and chosen.intact and not self.world.host.adopted(chosen)
            self._promised("it runs in the version that is meant, or is refused", bool(begun) == fine)
            self._promised("it runs there", begun == ([chosen.directory] if chosen and fine else []))
        return outcome

    def end_runs(self) -> None:
        """They end by themselves."""
        self.world.runs.clear()

    def stop_run(self, *mishaps: Mishap) -> None:
        """Somebody ends each command that runs, by its name."""
        for app in self.world.apps:
            for run in self.world.journal.runs(app):
                act = lambda host: manual.stop(host, self.world.apps, run.name)  # noqa: B023, E731
                outcome = self._type("stop run", app, act, mishaps)
                if not outcome.disturbed:
                    self._promised("what is stopped is over", run.process not in self.world.runs)
                    known = self.world.journal.run(run.id)
                    self._promised("and that is known", known is not None and known.outcome is not None)

    def _held_up(
        self, app: str, command: str, act: Callable[[Host], object], mishaps: tuple[Mishap, ...]
    ) -> Outcome:
        """What needs a slot in which somebody's command runs."""
        running = dict(self.world.runs)
        outcome = self._type(command, app, act, mishaps)
        self._promised("whoever's command runs is not disturbed", self.world.runs == running)
        if not outcome.disturbed and self.world.should_serve(app):
            refused = outcome.error is None or isinstance(outcome.error, SubstituteError)
            self._promised("what needs the slot of a command is refused", refused)
        return outcome

    def toggle_lock(self, app: str | None) -> None:
        """A person locks deployments, or unlocks them; nobody else does."""
        if not take_away(self.world.journal, app):
            put(self.world.journal, HandLock("Friday", "ada", 0.0, app))

    def _refused(self, app: str, act: Callable[[Host], object]) -> Outcome:
        before = self.world.record(app)
        outcome = self.world.run("nothing", [app], act)
        self._promised("what is locked is refused", isinstance(outcome.error, LockedError))
        self._promised("and nothing changes", self.world.record(app) == before)
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
        if self.world.runs_where_next(app):
            return self._held_up(
                app, "check", lambda host: check(host, self.world.apps[app], version), mishaps
            )
        outcome = self._type("check", app, lambda host: check(host, self.world.apps[app], version), mishaps)
        record = self.world.record(app)
        alone = self.world.apps[app].runs_once and record.live is not None and not record.stopped
        if not outcome.disturbed:
            self._promised(
                "nothing runs beside what must not run twice", _exit_status(outcome) == 2 or not alone
            )
            if not alone and not self.holds(app):
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
            wanted = len(instance.endpoints) if outcome.succeeded else 0
            self._promised("another stands by, without requests", (runs, share) == (wanted, 0))
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
        rebooted = self.world.rebooted
        outcome = self._type("up", None, lambda host: root.up(host, self.world.apps.values()), mishaps)
        if not outcome.disturbed:
            down = [
                app for app in self.world.apps if self.world.should_serve(app) and not self.world.serves(app)
            ]
            self._promised("all that should serve does, or it says so", outcome.succeeded == (not down))
            for app in self.world.apps:
                self.hold_to_settled(app)
            waiting = [app for app in rebooted if self.stands_by(app) or self.holds(app)]
            self._promised("a reboot has ended what waited", not waiting)
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

    def guardian_of_standby(self, app: str, *mishaps: Mishap) -> Outcome:
        """Nobody types it: it wakes up when the time of a standby is over."""
        act = lambda host: standbys.look_after(host, self.world.apps[app])  # noqa: E731
        return self._type("recovery", app, act, mishaps)

    def end_standby(self, app: str, *mishaps: Mishap) -> Outcome:
        stood = self.stands_by(app)
        outcome = self._type(
            "standby end", app, lambda host: standbys.end(host, self.world.apps[app]), mishaps
        )
        if not outcome.disturbed:
            self._promised("nothing stands by", not self.stands_by(app))
            if stood:
                self.hold_to_settled(app)
        return outcome

    def stands_by(self, app: str) -> bool:
        """Whether a version of it runs without requests, by intent."""
        slot = self.world.record(app).standby(self.world.host.clock.now())
        return slot is not None and bool(self.world.of(app, slot.name))

    def schedule(self, *mishaps: Mishap) -> Outcome:
        """A scheduler looks what is due, and that runs to its end."""

        def look(host: Host) -> None:
            for run in scheduling.claim_due(host):
                scheduling.carry_on(host, self.world.apps[run.app], run)

        began = self.world.clock.time
        outcome = self.world.run("scheduler", list(self.world.apps), look, mishaps)
        record = self.world.record("mall")
        live = record.live_slot
        if not outcome.disturbed and live and live.started and not record.stopped:
            known = self.world.journal.last_due("mall", "digest", until=math.inf)
            since = self.world.journal.live_since("mall", live.name, until=math.inf) or 0.0
            minute = (1_000_000 + began) // 60 * 60
            self._promised("each time is accounted for", (known or 0.0) >= minute or since >= minute)
        return outcome

    def down(self, *mishaps: Mishap, everything: bool = True) -> Outcome:
        guests = list(self.world.journal.guests())
        act = lambda host: root.down(host, self.world.apps.values(), everything=everything)  # noqa: E731
        outcome = self._type("down", None, act, mishaps)
        if not outcome.disturbed:
            self._promised("all is down", outcome.succeeded)
            ours = [one for one in self.world.instances if not self.world.strangers.is_one(one)]
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
        self.world.rebooted -= set(apps)
        for left in sorted(self.world.handed_over):
            self.world.handed_over.clear()
            self.guardian(left)
        return outcome

    def _promised_shared(self, app: str, outcome: Outcome) -> None:
        """What becomes live has all that whoever was live before wrote to what is shared."""
        shared = self.world.apps[app].shared_directory / NAME
        live = self.world.record(app).live_slot
        if live and outcome.succeeded and self.world.apps[app].shared:
            data, slots = self.world.data, self.world.record(app).slots
            self._promised("the live slot shares", data.links.get(live.directory / NAME) == shared)
            other = data.contents.get(slots[live.name.other].directory / NAME, frozenset())
            self._promised("the other one has nothing of its own", other <= {TRACKED} or outcome.disturbed)

    def hold_to_settled(self, app: str) -> None:
        """Rule 5: journal live == routed == running; and nothing is left of what was under way."""
        world, record = self.world, self.world.record(app)
        live = None if record.stopped else record.live
        shares = {slot: 100 if slot is live else 0 for slot in SlotName}
        self._promised("the live slot gets all requests", world.shares(app) == shares)
        self._promised("none waits", not world.waits(app) and record.waits_since is None)
        slot = record.slots[live] if live else None
        web = [one.name for one in slot.web] if slot else []
        standby = record.standby(world.host.clock.now())
        before = {one.name for one in standby.web} if standby else set()
        held = record.holds(world.host.clock.now())
        before |= {one.name for one in held.web} if held and not record.stopped else set()
        processes = slot.version.processes if slot and slot.version else {}
        workers = [f"{app}_{live}_{name}_1" for name in processes]
        running = {one.name for one in world.of(app) if not world.strangers.is_one(one)}
        kept = {name for name in world.runtime.kept() if name.startswith(f"{app}_")}
        expected = {*web, *workers, *(before & (running | kept))}
        coming = kept if world.runtime.running else set()  # what crashed is started again in a moment
        self._promised("it runs, and nothing else", running <= expected <= running | coming)
        self._promised("nothing else is kept running, and each worker is", set(workers) <= kept <= expected)
        self._promised(
            "the scheduler runs where it should", self._is_scheduled() == (1 if self._has_crons() else 0)
        )
        self._promised("no deployment is under way", not world.journal.unfinished(app))
        left = {run.process for run in world.journal.runs(app)} - world.runs.keys()
        self._promised("no command is said to run that does not", not left)
        self._promised("no build runs", not [at for at in world.builds.values() if at.name.startswith(app)])
        self._promised("nor what one has left", app not in world.confined)
        signposts = (world.signpost(app), world.current(app))
        self._promised("signposts tell the truth", signposts == (record.next_slot, record.live))

    def _has_crons(self) -> bool:
        """Whether a live version that runs, or should, has crons, or other edges are followed."""
        if self.world.host.edges:
            return True
        records = [self.world.record(app) for app in self.world.apps]
        live = [record.live_slot for record in records if not record.stopped]
        return any(slot.started and slot.version and slot.version.crons for slot in live if slot)

    def _is_scheduled(self) -> int:
        """How many schedulers run, of which the runtime keeps one."""
        kept = SCHEDULER in self.world.runtime.kept()
        return len(self.world.schedulers) if kept or not self.world.schedulers else -1

    def _promised(self, what: str, kept: bool) -> None:  # noqa: FBT001
        self.world.promised(what, kept=kept)


def _exit_status(outcome: Outcome) -> int | None:
    return outcome.error.exit_status if isinstance(outcome.error, SubstituteError) else None
