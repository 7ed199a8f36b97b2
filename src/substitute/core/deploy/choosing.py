"""Which slot and which commit an operation is about: the next one, an earlier one, or the live one once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.plan import Plan
from substitute.core.deploy.running.runs import under_way
from substitute.core.deploy.versions.kept_versions import taken_up, target_of
from substitute.core.deploy.versions.release_guard import require_no_contract
from substitute.core.model.errors import UsageError
from substitute.core.model.events import Notice
from substitute.core.ports.source import Revision
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord, SlotRecord

    Choose = Callable[[Host, App, AppRecord], Plan]


def into_next_slot(operation: str, commit: str | None, *, sha256: str | None = None) -> Choose:
    """Choose `commit`, by default the newest of the branch, for the slot that is not live."""

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        slot = record.slots[record.next_slot]
        revision = _resolve(host, app, slot, commit, sha256=sha256)
        return Plan(operation, slot.name, revision, update=True)

    return choose


def released_elsewhere(chosen: Choose) -> Choose:
    """The same; its `release` has run on another host."""
    return lambda host, app, record: replace(chosen(host, app, record), released=True)


def tagged(chosen: Choose, tag: str) -> Choose:
    """The same; `tag` led to it on another host."""

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        plan = chosen(host, app, record)
        return replace(plan, revision=replace(plan.revision, tag=tag))

    return choose


def to_earlier(commit: str | None, *, force: bool = False) -> Choose:
    """Choose `commit`, by default what was live before, as it was built where that is kept.

    The choice raises UsageError where there is nothing to go back to, or where without `force` it would go back
    across a contract.
    """

    def choose(host: Host, app: App, record: AppRecord) -> Plan:
        live = record.live_slot
        target = target_of(host, app, record, commit)
        if live is None or target is None:
            raise UsageError(
                f"There is no earlier version of {app.name} to go back to.",
                fact="What was adopted was built elsewhere." if _was_adopted(host, app) else "",
                cure="See `substitute history`; `substitute deploy COMMIT` goes to any commit.",
            )
        require_no_contract(host, app, target, force=force)
        slot, source = taken_up(host, app, record.slots[live.name.other], target), host.source(app)
        if slot.intact and slot.commit == target and source.current(slot.directory) == target:
            warm = slot.standby_until is not None and all(host.running(one) for one in slot.web)
            if warm or _has_its_image(host, slot):
                return Plan("rollback", slot.name, _remembered(host, app, target), update=False, warm=warm)
            gone = f"The image of {target[:10]} is not here any more"
        else:
            gone = f"Slot {slot.name} no longer holds {target[:10]}"
        if app.remembered:
            raise UsageError(
                f"{gone}, which was live before.",
                fact="It would have to be built again, and substitute.toml does not say how.",
                cure="Correct it first: `substitute config` lists what is wrong.",
            )
        host.emit(Notice(f"{gone}: it is fetched and built again."))
        return Plan("rollback", slot.name, _resolve(host, app, slot, target, fetch=False), update=True)

    return choose


def earlier_commit(commit: str | None, host: Host, app: App, record: AppRecord) -> str | None:
    """Which commit `to_earlier` is about to choose; None where it will refuse."""
    try:
        return target_of(host, app, record, commit)
    except UsageError:
        return None


def held_one(host: Host, app: App, record: AppRecord) -> Plan:
    """Choose what is held. Raises UsageError where nothing is."""
    slot = record.holds(host.clock.now())
    if slot is None or slot.commit is None:
        raise nothing_is_held(app)
    return Plan("promote", slot.name, _remembered(host, app, slot.commit), update=False, warm=True)


def nothing_is_held(app: App) -> UsageError:
    """The error of whoever decides about a candidate that is not there."""
    return UsageError(
        f"No version of {app.name} is held.", cure="`substitute deploy --hold` brings one up and waits."
    )


def live_again(host: Host, app: App, record: AppRecord) -> Plan:
    """Choose the live commit, to be built in the other slot. Raises UsageError where it is not known."""
    live = record.live_slot
    if live and live.commit is None:
        raise UsageError(
            f"Which commit of {app.name} runs is not known.",
            fact="It was adopted, and what it runs in is no clone of `repo`: it cannot be built here.",
            cure="`substitute deploy` replaces it by the newest commit.",
        )
    if live is None or live.commit is None:
        raise UsageError(f"No version of {app.name} is live yet.", cure="Type `substitute deploy`.")
    slot = record.slots[live.name.other]
    revision = _resolve(host, app, slot, live.commit, fetch=False)
    return Plan("restart", slot.name, revision, update=True)


def _resolve(
    host: Host,
    app: App,
    slot: SlotRecord,
    commit: str | None,
    *,
    fetch: bool = True,
    sha256: str | None = None,
) -> Revision:
    # What was built there once is a clone of ours, and may be replaced when it is broken: not below what runs in it.
    ours = slot.commit is not None and not any(run.slot is slot.name for run in under_way(host, app.name))
    return host.source(app).resolve(slot.directory, commit, fetch=fetch, ours=ours, sha256=sha256)


def _has_its_image(host: Host, slot: SlotRecord) -> bool:
    """Whether what `slot` holds can be started as it is: somebody may have removed its image from the engine."""
    image = slot.version.image_id if slot.version else ""
    engine = host.engine() if image else None
    return engine is None or engine.find(image) is not None


def _remembered(host: Host, app: App, commit: str) -> Revision:
    """A commit that was deployed before, by what the history says of it."""
    known = host.journal.described(app.name, commit)
    return Revision(commit, known.subject if known else "", "as it stands", known.tag if known else "")


def _was_adopted(host: Host, app: App) -> bool:
    return any(one.operation == "adopt" for one in host.journal.past(app.name))
