"""Whether a deployment would change anything: its commit is live already, or changes nothing that the app watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.shared import laid_before, names_of
from substitute.core.model.events import Unchanged, Warned
from substitute.core.model.versions import changed_keys
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.deploy.plan import Plan
    from substitute.core.deploy.settle import Settled
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.slots import SlotName


@dataclass(frozen=True)
class AlreadyLive:
    """What was chosen is live, and serves: its commit, or all of it that the app watches."""

    commit: str
    """The live one."""
    slot: SlotName
    changed: tuple[str, ...]
    """Keys of the app in substitute.toml that changed since."""
    chosen: str
    watched: tuple[str, ...] = ()

    def unchanged(self, app: App) -> Unchanged:
        """It, left alone."""
        return Unchanged(app.name, self.slot, self.commit, chosen=self.chosen, watched=self.watched)

    @property
    def message(self) -> str:
        """What somebody should know who deploys it all the same."""
        what = f"{self.commit[:10]} is live already."
        if self.chosen != self.commit:
            what = f"{self.chosen[:10]} changes nothing in {', '.join(self.watched)}; {self.commit[:10]} is live."
        if self.changed:
            return f"{what} In substitute.toml changed since: {', '.join(self.changed)}."
        spare = "" if self.watched else "; `substitute deploy --if-changed` leaves it alone"
        return f"Nothing changed: {what} It is built and started again{spare}."


def already_live(host: Host, app: App, plan: Plan, settled: Settled) -> AlreadyLive | None:
    """The live version, where it has all that the plan would bring; None where there is something to deploy."""
    live, commit = host.journal.app(app.name).live_slot, plan.revision.commit
    watched = tuple(dict.fromkeys([*app.watch, app.directory])) if app.watch else ()
    if watched:
        _warn_of_absent(host, app, plan)
    serves = live is not None and settled.live is live.name and not settled.problem
    if live is None or not serves or live.commit is None or host.adopted(live):
        return None
    if live.commit != commit and not _spares(host, app, plan, live.commit, watched):
        return None
    changed = changed_keys(app, live.version) if live.version else []
    if live.endpoints not in [slot.endpoints for slot in app.slots.values()]:
        changed.append("ports")
    if set(names_of(app)) - set(laid_before(host, app)):
        changed.append("shared")
    return AlreadyLive(live.commit, live.name, tuple(changed), commit, tuple(filter(None, watched)))


def _spares(host: Host, app: App, plan: Plan, live: str, watched: tuple[str, ...]) -> bool:
    """Whether nothing that is `watched` differs from the live commit; where that can't be told, something does."""
    if not watched or "" in app.watch:
        return False
    directory = app.slots[plan.slot].directory
    changed = host.source(app).changed(directory, live, plan.revision.commit)
    return changed is not None and not any(touches(path, one) for path in changed for one in watched if one)


def touches(path: str, watched: str) -> bool:
    """Whether a change of `path` is one of what is `watched`: it, below it, or a submodule around it."""
    return path == watched or path.startswith(f"{watched}/") or watched.startswith(f"{path}/")


def _warn_of_absent(host: Host, app: App, plan: Plan) -> None:
    """A path that was mistyped changes never: the app would not be deployed, and nobody would know."""
    commit = plan.revision.commit
    for path in host.source(app).absent(app.slots[plan.slot].directory, commit, app.watch):
        host.emit(Warned(f"app.{app.name}.watch names {path}, which the commit {commit[:10]} does not have."))
