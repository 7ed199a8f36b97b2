"""An app as the journal knows it: where substitute.toml has an error, or names the app no longer.

That is enough for all that looks after what runs (`up`, `down`, `stop`, `status`, `logs`, `history`) and for a rollback
to a slot that still holds its version. It is not enough to build anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.app_settings import Build, Drain, Secrets
from substitute.core.model.apps import App, Order
from substitute.core.model.health import Health
from substitute.core.model.programs import Limits, Protection
from substitute.core.model.slots import Slot, SlotName

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.records import AppRecord
    from substitute.core.model.versions import Version
    from substitute.core.state.journal import Journal

_LISTENS = Health("tcp", "/", None, timeout=30.0, interval=0.1, successes=1)
_HOOKS_TIMEOUT = 600.0


def remembered(journal: Journal, root: Path, name: str, *, removed: bool = False) -> App:
    """The app `name` of the journal, by the version that is live in it, else by the other one."""
    record = journal.app(name)
    slot = record.slots[record.live or SlotName.A]
    version = slot.version or record.slots[slot.name.other].version
    return App(
        name=name,
        root=root,
        repo="",
        branch=None,
        build=Build(timeout=0.0),
        clean=False,
        start=version.start if version else "",
        slots={
            one.name: Slot(one.name, one.directory, one.endpoints, one.clustered)
            for one in record.slots.values()
        },
        domains=journal.domains(name),
        assets=journal.assets(name),
        env=version.env if version else {},
        health=version.health if version else _LISTENS,
        drain=Drain(slot.drain_timeout, waves=journal.waves(name)),
        stop_timeout=slot.stop_timeout,
        order=Order.START_FIRST if record.longest_wait is None else Order.STOP_FIRST,
        hold=record.longest_wait or 0.0,
        hooks_timeout=_HOOKS_TIMEOUT,
        stop_signal=slot.stop_signal,
        directory=version.directory if version else "",
        secrets=_secrets(version),
        user=version.user if version else None,
        notifies=version.notifies if version else False,
        limits=version.limits if version else Limits(),
        processes=version.processes if version else {},
        crons=version.crons if version else {},
        protections=version.protections if version else frozenset(Protection),
        source=journal.fact(source_fact(name)) or "git",
        remembered=True,
        removed=removed,
    )


def source_fact(app: str) -> str:
    """The name of the fact that says what the versions of `app` come from."""
    return f"source:{app}"


def is_in_use(record: AppRecord) -> bool:
    """Whether a version of it is live, if only stopped by hand, or anything of it runs."""
    return record.live is not None or any(slot.in_use for slot in record.slots.values())


def _secrets(version: Version | None) -> Secrets:
    if version is None:
        return Secrets(
            problem="How it is started is not known: the journal was written by an earlier version."
        )
    return Secrets(version.env_file, sources=version.secrets_from)
