"""The version before the live one: a rollback starts it from the other slot as it stands, until that is overwritten.

Whatever is deployed is built in that slot. So it is said beforehand what that costs a rollback; and as long as nothing
has run in the slot since its files were changed, giving up changes them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.running.instances import remains
from substitute.core.deploy.versions.kept_versions import keeps_more
from substitute.core.model.errors import InterruptedByUserError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.unexpected import expected

if TYPE_CHECKING:
    from substitute.core.deploy.plan import Plan
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord


def rollback_target(host: Host, app: App) -> SlotRecord | None:
    """The slot that a rollback would start as it stands, or None."""
    record = host.journal.app(app.name)
    live = record.live_slot
    if live is None:
        return None
    slot = record.slots[live.name.other]
    target = host.journal.rollback_commit(app.name, live.commit)
    return slot if slot.intact and slot.commit and slot.commit == target else None


def rollback_cost(host: Host, app: App, plan: Plan, slot: SlotRecord) -> str:
    """What `plan`, which is about to overwrite `slot`, costs a rollback to what is at hand there; nothing: empty."""
    if keeps_more(app):
        return ""
    live, held = host.journal.app(app.name).live_slot, (slot.commit or "")[:10]
    if plan.revision.commit == slot.commit and plan.operation == "deploy":
        return (
            f"Slot {slot.name} holds a finished build of {held}: `substitute rollback` makes it live without building. "
            "This deployment builds it again."
        )
    what = f"This overwrites {held}, the version before the live one, in slot {slot.name}"
    is_replaced = plan.operation == "deploy" and live is not None and live.commit != plan.revision.commit
    if is_replaced:  # a rollback then goes to what is live now, whose slot is untouched
        return f"{what}: until this deployment is live, a rollback has to build it again."
    return f"{what}: after this {plan.operation} a rollback has to build it again."


def rollback_lost(host: Host, app: App, before: SlotRecord | None) -> str:
    """What somebody should know after a failure who thinks of a rollback, where it was at hand `before`."""
    if before is None or rollback_target(host, app) or before.commit in host.journal.kept(app.name):
        return ""
    built = (
        one for one in host.journal.past(app.name) if one.commit == before.commit and one.seconds.get("build")
    )
    took = next((one.seconds["build"] for one in built), 0.0)
    time = f", which took {took:.0f}s" if took >= 1 else ""
    commit = (before.commit or "")[:10]
    return f"A rollback to {commit} has to build it again{time}: slot {before.name} was overwritten."


def put_back(host: Host, app: App) -> None:
    """Change the files of a slot back that a deployment has overwritten and given up before anything ran there.

    Nothing hangs on it: where it fails that is told, and a rollback builds again.
    """
    found = host.journal.overwritten(app.name)
    if found is None or remains(host, app, found[0]):
        return
    slot, left = found
    commit = slot.commit or ""
    try:
        host.source(app).go_back(slot.directory, commit, left=left)
    except InterruptedByUserError:
        raise
    except Exception as error:  # noqa: BLE001
        host.journal.forget_overwritten(app.name)
        host.emit(
            Warned(
                f"The files of slot {slot.name} can't be changed back to {commit[:10]}. {expected(error).reason}"
            )
        )
        return
    host.journal.put_back(app.name)
    host.emit(Notice(f"Slot {slot.name} holds {commit[:10]} again: a rollback starts it as it stands."))
