"""An adopted app is started and stopped by what kept it before; one that nothing keeps gets its signal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.readiness import answers
from substitute.core.deploy.running.bypass import require_none_come_past
from substitute.core.model.errors import NotReadyError, RuntimeFailedError, UsageError
from substitute.core.model.events import Notice
from substitute.core.model.versions import health_of
from substitute.core.polling import wait_while
from substitute.core.state.adopted import fact_of

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.ports.strangers import Keeper
    from substitute.core.state.adopted import Adopted

_TICK = 0.05


def start_again(host: Host, app: App, slot: SlotRecord, adopted: Adopted) -> None:
    """Have what keeps the adopted app start it, and return when it answers. Raises NotReadyError."""
    process, keeper = host.inspect(slot.web[0]).process, adopted.keeper
    what = f"The app that was adopted on port {slot.endpoints[0].port}"
    if process and host.instances.owned(slot.endpoints[0], process):
        raise NotReadyError(f"{what} runs, but does not pass its health check.")
    if keeper is None:
        raise NotReadyError(
            f"{what} does not run.",
            fact="It was built elsewhere, so it cannot be started here: start it as before and type "
            "`substitute adopt`, or type `substitute deploy`.",
        )
    host.emit(Notice(f"Slot {slot.name} should be live and does not run: starting {keeper.called}."))
    _ask(host, keeper, keeper.start, timeout=health_of(app, slot.version).timeout)
    if not answers(host, app, slot, patience=health_of(app, slot.version).timeout):
        raise NotReadyError(f"{what} does not answer.", fact=f"It was started by `{' '.join(keeper.start)}`.")


def require_keeper(host: Host, app: App, record: AppRecord) -> None:
    """Raise UsageError where the live app could not come back, and has to end before its successor starts."""
    live = record.live_slot
    if not app.runs_once or live is None or not host.runs(live):
        return
    if (adopted := host.adopted(live)) and adopted.keeper is None:
        raise UsageError(
            f"The app that was adopted on port {live.endpoints[0].port} has to end before the new version starts "
            '(order = "stop-first"), and nothing is known that starts it again if that one fails.',
            fact="Nothing was changed.",
            cure="Run it by systemd or PM2 and adopt it again; or stop it yourself, and then type `substitute deploy`.",
        )


def let_go(host: Host, slot: SlotRecord, adopted: Adopted) -> None:
    """Stop the adopted app by what keeps it. While no other version is live, it is remembered, and `up` starts it.

    Raises RuntimeFailedError where it goes on.
    """
    process, keeper = host.inspect(slot.web[0]).process, adopted.keeper
    live = host.journal.app(slot.app).live
    if process and live and live is not slot.name:
        require_none_come_past(host, slot)
    if keeper:
        _ask(host, keeper, keeper.stop, timeout=slot.stop_timeout + 90)
        _await_end(host, slot, keeper)
    elif process:
        killed = host.strangers.end(process, timeout=slot.stop_timeout, signal=slot.stop_signal)
        if killed:
            host.emit(
                Notice(
                    f"Slot {slot.name} did not exit within {slot.stop_timeout:g}s of {slot.stop_signal} and was killed."
                )
            )
    if live is slot.name:
        return
    host.journal.leave(slot.app, slot.name, fact_of(slot.app), live=live)
    if keeper:
        host.emit(
            Notice(f"{keeper.called} is stopped. To keep it stopped after a reboot, type `{keeper.forget}`.")
        )


def _await_end(host: Host, slot: SlotRecord, keeper: Keeper) -> None:
    def left() -> Process | None:
        # A supervising program may hold the port itself, and outlives what it kept.
        process = host.inspect(slot.web[0]).process
        return process if process and host.instances.owned(slot.endpoints[0], process) else None

    if process := wait_while(left, slot.stop_timeout, _TICK, clock=host.clock):
        raise RuntimeFailedError(
            f"{keeper.called} still runs (pid {process.pid}) after `{' '.join(keeper.stop)}`.",
            cure="Stop it by hand, then type `substitute up`.",
        )


def _ask(host: Host, keeper: Keeper, argv: tuple[str, ...], *, timeout: float) -> None:
    ended = host.commands.run(
        argv,
        directory=Path("/"),
        environment=keeper.environment,
        on_line=lambda _: None,
        on_start=lambda _: None,
        timeout=timeout,
        user=keeper.user,
    )
    if ended.status:
        raise RuntimeFailedError(
            f"`{' '.join(argv)}` failed with exit status {ended.status}.",
            fact="\n".join(f"  | {line}" for line in ended.tail),
            cure="Run it by hand, then type `substitute up`.",
        )
