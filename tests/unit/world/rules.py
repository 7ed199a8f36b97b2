"""The rules of the contract: whatever a deployer does to the world is held against them at once."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.apps import Order
from substitute.core.model.errors import NothingServesError
from substitute.core.model.instances import WEB
from substitute.core.model.slots import SlotName
from tests.unit.world.apps import GUEST, SECRETS, STOP_LIMIT, WORKERS
from tests.unit.world.versions import CONTRACT, Files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from substitute.core.model.errors import SubstituteError
    from substitute.core.model.programs import Process, Program
    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World


class Rules:
    """Each is told what a deployer does, and tells the world what is wrong with that."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.proven: dict[Path, str] = {}
        """The start line of what was live in a directory, until its files change."""
        self.releases: dict[tuple[str, int], str] = {}
        """The version whose release each deployment of an app has begun, the latest at the end."""
        self.began: Counter[tuple[str, str, float | None]] = Counter()
        """How often a cron's command was started for a time."""

    # -- where requests go ------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Rules 1 and 4: what we do to the world makes no request fail, and leaves the last ready one reachable."""
        before = {
            app: (self.world.answered(app, all), self.world.answered(app, any)) for app in self.world.apps
        }
        yield
        for app, (all_answered, any_answered) in before.items():
            if not self.world.should_serve(app) or self.world.waits(app):
                continue
            if all_answered and not self.world.answered(app, all, self.world.unseen):
                self.world.wrong(f"requests to {app} fail because of us")
            if any_answered and not self.world.answered(app, any, self.world.unseen):
                self.world.wrong(f"the last ready instance of {app} was taken out of the balancer")

    def led(self, app: str) -> None:
        """Rule 1, for the shares that a command has just chosen: where one is ready, no slot without one gets requests.

        In a slot with several instances the balancer tries the next one.
        """
        shares, slots = self.world.shares(app), self.world.record(app).slots
        reached = [
            any(self.world.is_ready(one.endpoints[0]) or one.name in self.world.unseen for one in slot.web)
            for name, slot in slots.items()
            if shares[name]
        ]
        if self.world.answered(app, any) and not all(reached):
            self.world.wrong(f"requests to {app} are sent where nothing is ready")

    def signposts(self, app: str) -> None:
        """What is served through the link is what is live, whenever traffic moves or an instance is to leave."""
        record = self.world.record(app)
        if (self.world.signpost(app), self.world.current(app)) != (record.next_slot, record.live):
            self.world.wrong(f"the signposts of {app} do not say that {record.live} is live")

    def reached(self, instance: Instance | None) -> None:
        """What is live and gets requests is proven: it is started, and stopped, as it was then."""
        if instance and self.world.journal.app(instance.app).live is instance.slot:
            self.proven.setdefault(instance.directory, instance.command)

    def words(self, apps: Sequence[str], error: SubstituteError) -> None:
        """Whoever is said to serve does, and nothing does where that is said."""
        text, asleep = str(error), isinstance(error, NothingServesError)
        for app in apps:
            if asleep and len(apps) == 1:
                self.world.promised(f"nothing serves {app}", kept=not self.world.answered(app, any))
        if said := re.search(r"Slot (a|b) \(\w*\) (still serves|serves now)", text):
            (app,), slot = apps, SlotName(said[1])
            ready = any(map(self.world.is_ready, self.world.record(app).slots[slot].endpoints))
            self.world.promised(said[0], kept=ready and self.world.shares(app)[slot] > 0)

    # -- what starts and ends ---------------------------------------------------------------------

    def started(self, program: Program, app: str, slot: SlotName, process_type: str) -> None:
        """What starts is a finished build, and what was live is started as it was then.

        Rule 7: what must not run twice does not.
        """
        for one in self.world.of(app) if WORKERS.get(process_type) is Order.STOP_FIRST else ():
            if one.process_type == process_type:
                self.world.wrong(f"{program.name} was started while {one.name} ran")
        if process_type == WEB:
            self.alone(app)
        record = self.world.journal.app(app).slots[slot]
        commit = record.commit or ""
        if self.world.command != "start" and self.world.files.get(program.directory) != Files(commit, commit):
            self.world.wrong(f"{program.name} was started from what is no finished build of {record.commit}")
        if [
            one
            for one in self.world.journal.unfinished(app)
            if self.world.command == "deploy"
            and (one.slot, one.operation) == (slot, "deploy")
            and one.previous != one.commit
            and one.release_outcome != "succeeded"
        ]:
            self.world.wrong(f"{program.name} was started, and its release had not run to its end")
        if program.environment.get("KEY") != SECRETS.get(app):
            self.world.wrong(f"{program.name} was started without its secret, or with another's")
        proven = self.proven.get(program.directory, program.command)
        if process_type == WEB and program.command != proven:
            self.world.wrong(f"{program.name} was proven by `{proven}` and started by `{program.command}`")

    def alone(self, app: str) -> None:
        """Rule 7, when an instance that answers requests is about to run, whoever starts it."""
        others = [one.name for one in self.world.of(app) if one.process_type == WEB]
        if app in self.world.apps and self.world.apps[app].runs_once and others:
            self.world.wrong(f"{app} was started while {' and '.join(others)} ran")

    def told(self, instance: Instance, number: str) -> None:
        """Rules 2, 3, 4 and 6, for the signal `number` to an instance that has had none."""
        self._signal(instance, number)
        if instance in self.world.foreign or self.world.strangers.is_one(instance):
            self.world.wrong(f"SIGTERM to {instance.name} of another root, or of nobody's here")
        if instance.app == GUEST:
            if self.world.command not in {"start guest", "stop guest", "up", "down"}:
                self.world.wrong(f"{self.world.command} sent SIGTERM to a guest")
        elif instance.app not in self.world.subjects:
            self.world.wrong(f"{self.world.command} of another app sent SIGTERM to {instance.name}")
        elif instance.process_type == WEB:
            self._web_told(instance)
        else:
            self._worker_told(instance)

    def _signal(self, instance: Instance, number: str) -> None:
        """What was live is stopped as it was proven, whatever was edited since."""
        known = instance.process_type != WEB or self.proven.get(instance.directory) == instance.command
        if number != instance.signal and known:
            self.world.wrong(f"{number} to {instance.name}, which finishes its work on {instance.signal}")

    def _web_told(self, instance: Instance) -> None:
        app, slot = instance.app, instance.slot
        should_serve, live = self.world.should_serve(app), self.world.journal.app(app).live
        self.signposts(app)
        share = self.world.shares(app)[slot]
        if share:
            self.world.wrong(f"SIGTERM to {instance.name}, which gets {share} % of the requests")
        if self.world.balancer.running and instance.endpoint in self.world.balancer.spare:
            self.world.wrong(f"SIGTERM to {instance.name}, which is asked for assets")
        if self.world.balancer.cuts_off(instance):
            self.world.wrong(f"SIGTERM to {instance.name} with requests in flight")
        should_serve = should_serve and not self.world.waits(app)
        if should_serve and slot is live:
            self.world.wrong(f"SIGTERM to {instance.name}, which is live")
        theirs = self.world.record(app).slots[slot.other].web
        other = any(one.name in self.world.unseen or self.world.is_ready(one.endpoints[0]) for one in theirs)
        ready = instance.endpoint and self.world.is_ready(instance.endpoint)
        if (
            should_serve
            and self.world.command != "check"
            and ready
            and not other
            and not self._was_held(instance)
        ):
            self.world.wrong(f"SIGTERM to {instance.name}, the last that is ready")

    def _was_held(self, instance: Instance) -> bool:
        """What was held has no clients: whoever decides about it may end it at any time."""
        past = (one for one in self.world.journal.past(instance.app) if one.slot is instance.slot)
        last = next(past, None)
        return last is not None and last.outcome == "aborted"

    def _worker_told(self, instance: Instance) -> None:
        """Rule 6: a worker of the live version is stopped only for a new one, and only where it must not run twice."""
        is_live = (
            self.world.should_serve(instance.app)
            and self.world.journal.app(instance.app).live is instance.slot
        )
        makes_room = WORKERS[instance.process_type] is Order.STOP_FIRST and self.world.journal.unfinished(
            instance.app
        )
        if is_live and self.world.runtime.keeps(instance) and not makes_room:
            self.world.wrong(f"SIGTERM to {instance.name}, a worker of the live version")

    def killed(self, instance: Instance) -> None:
        """Rule 3."""
        if instance.told is None or self.world.clock.time < instance.told + STOP_LIMIT - 0.001:
            self.world.wrong(f"SIGKILL to {instance.name} before its limit")

    def run_ended(self, process: Process) -> None:
        """Rule 8: a command that somebody has typed is ended by ``stop run-ID`` alone."""
        if self.world.command != "stop run" or process in self.world.foreign_runs:
            self.world.wrong(f"{self.world.command} ended the command {process.pid}")

    def cron_begun(self, number: int) -> None:
        """Rule 9: a cron's command runs once for each time that it is due, and in what is live when it starts."""
        run = self.world.journal.run(number)
        assert run
        self.began[run.app, run.cron, run.due] += 1
        if self.began[run.app, run.cron, run.due] > 1:
            self.world.wrong(f"{run.cron} of {run.app} was started twice for {run.due}")
        record = self.world.journal.app(run.app)
        if run.slot is not record.live or record.stopped or run.app in self.world.retired:
            self.world.wrong(f"{run.cron} of {run.app} was started in slot {run.slot}, which is not live")

    # -- files and builds -------------------------------------------------------------------------

    def touched(self, directory: Path) -> None:
        """Rule 2: files change where nothing runs, and nobody else works."""
        for instance in self.world.instances:
            if instance.directory == directory:
                self.world.wrong(f"files of {instance.name} were changed while it ran")
        for app in self.world.subjects:
            record = self.world.journal.app(app)
            if record.live_slot and record.live_slot.directory == directory:
                self.world.wrong(f"files of the live slot {record.live} were changed")
        self.proven.pop(directory, None)
        if directory in self.world.runs.values():
            self.world.wrong(f"files of {directory.name} were changed while somebody's command ran there")
        if directory in self.world.builds.values():
            self.world.wrong(f"a build ran in {directory.name} while its files were changed")

    def release_begun(self, app: str, directory: Path) -> None:
        """A release runs once a deployment, of what is built and not live, and before any of it has started."""
        deployments = self.world.journal.unfinished(app)
        held, record = self.world.files.get(directory, Files("")), self.world.record(app)
        if self.world.command != "deploy" or app not in self.world.subjects or len(deployments) != 1:
            self.world.wrong(f"{self.world.command} ran a release of {app}")
            return
        (deployment,) = deployments
        if (app, deployment.id) in self.releases:
            self.world.wrong(f"deployment {deployment.id} ran its release twice")
        if held.version != held.built or held.version != deployment.commit:
            self.world.wrong(f"the release of {deployment.commit} ran where it is not built")
        if record.live_slot and record.live_slot.commit == deployment.commit:
            self.world.wrong(f"the release of {deployment.commit} ran, which is live")
        if [one for one in self.world.instances if one.directory == directory]:
            self.world.wrong(f"the release of {deployment.commit} ran beside what it is to come before")
        if app in self.world.confined or [
            at for at in self.world.builds.values() if at.name.startswith(f"{app}_")
        ]:
            self.world.wrong(f"the release of {deployment.commit} ran beside a build or a release")
        if deployment.release_outcome != "running":
            self.world.wrong(f"the journal does not know of the release of {deployment.commit}")
        self.releases[app, deployment.id] = deployment.commit or ""

    def survives(self, app: str, version: str | None) -> bool:
        """Whether the database of `app` suits `version`: its own release ran with the latest contract, or after it."""
        run = [released for (of, _), released in self.releases.items() if of == app]
        since = max((at for at, released in enumerate(run) if released == CONTRACT), default=0)
        return CONTRACT not in run or version in run[since:]

    def removed(self, directory: Path) -> None:
        """Rule 8: what is kept, or a slot's, is not removed."""
        for app in self.world.apps:
            slots = self.world.journal.app(app).slots.values()
            if directory in {*self.world.journal.kept(app).values(), *(slot.directory for slot in slots)}:
                self.world.wrong(f"{directory.name} was removed, which {app} keeps")

    def kept(self, app: str) -> None:
        """Rule 8: what is kept is there as it was built."""
        for commit, directory in self.world.journal.kept(app).items():
            held = self.world.files.get(directory)
            if held != Files(commit, built=commit):
                self.world.wrong(f"{commit} is kept in {directory.name}, which holds {held}")
