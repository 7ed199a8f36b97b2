"""All instances of the live slot run, and not only one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.readiness import answers_in_time, await_ready
from substitute.core.deploy.running.instances import start_instances
from substitute.core.deploy.running.workers import have_run, processes_of, workers_of
from substitute.core.model.errors import InterruptedByUserError, NotReadyError, SubstituteError
from substitute.core.model.events import Notice, Warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import SlotRecord


def complete(
    host: Host, app: App, live: SlotRecord, waiting: Callable[[], AbstractContextManager[None]]
) -> list[str]:
    """Start what does not run of the `live` slot, one of whose web instances answers; why the rest can't be had.

    That is told and no exception: a version with the fix must get through.
    """
    if host.adopted(live):
        return []
    web = live.web if len(live.web) > 1 else ()
    wanted = [
        *((_have_answer, one) for one in web),
        *((have_run, one) for one in workers_of(live, processes_of(app, live))),
    ]
    if not wanted:
        return []
    from substitute.core.deploy.readiness.early_exit import explained  # noqa: PLC0415  # many apps are one process

    missing = []
    for have, one in wanted:
        try:
            with waiting(), explained(host, app, live):
                have(host, app, live, one)
        except InterruptedByUserError:
            raise
        except SubstituteError as error:
            missing.append(error.reason)
            host.emit(Warned(error.reason))
    return missing


def _have_answer(host: Host, app: App, live: SlotRecord, one: InstanceRecord) -> None:
    """Have one web instance of several answer."""
    if answers_in_time(host, app, live, [one]):
        return
    if host.inspect(one).process:
        raise NotReadyError(
            f"{one.subject} runs, but does not pass its health check.", cure=f"See {one.logs}."
        )
    host.emit(Notice(f"{one.subject} does not run: starting it."))
    started, _ = start_instances(host, app, live, [one])
    await_ready(host, live, started, show=lambda _: None)
