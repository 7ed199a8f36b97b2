"""``adopt``: the app that runs on a port today becomes the live version of a slot, and goes on serving.

From then on it is an instance like any other, which `settle` lets finish and stops once another one is live. Only who
starts and stops it differs: what kept it before, asked by its own commands, or nobody.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.deploy.settle import settle
from substitute.core.deploy.versions.pointers import write_pointers
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import LeftoverError, NotReadyError, SubstituteError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.state.adopted import Adopted, fact_of, written

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.ports.strangers import Stranger

_PATIENCE, _TICK = 2.0, 0.05
"""Seconds that it has for one good answer: it serves already."""


def adopt(host: Host, app: App, port: int | None, *, listed: bool) -> SlotRecord:
    """Make what listens on `port` (default: on one of the app's two) the live version of `app`; its slot is returned.

    `listed`: the balancer leads to the configured ports only. Raises UsageError where it can't be adopted, or another
    version runs, NotReadyError where it does not answer well; then nothing was changed.
    """
    with (
        working(host, app, "adopt"),
        Interrupts(ends_soon(host.emit)),
        host.guardian(app.name),
    ):
        host.journal.register(app)
        if not host.journal.environment(app.name):
            host.journal.remember_environment(app.name, host.caller)
        record = host.journal.app(app.name)
        if record.live_slot and host.adopted(record.live_slot):
            settle(host, app)  # whoever adopted it was killed, perhaps, before it had its requests
        _require_nothing_runs(host, record)
        name, endpoints = _place(host, app, record, port, listed=listed)
        stranger = _found(host, endpoints)
        _require_good_answers(host, app, endpoints)
        adopted = Adopted(name, stranger.keeper)
        host.journal.adopt(
            app.name,
            name,
            stranger.process,
            endpoints=endpoints,
            commit=_commit_of(host, app, stranger),
            fact=(fact_of(app.name), written(adopted)),
            now=host.clock.now(),
        )
        _have_it_serve(host, app, name)
        slot = host.journal.app(app.name).slots[name]
        host.emit(Notice(_told(app, slot, stranger, adopted)))
        return slot


def _require_nothing_runs(host: Host, record: AppRecord) -> None:
    for slot in record.slots.values():
        seen = [host.inspect(one) for one in slot.instances]
        if any(one.process or one.wanted for one in seen):
            runs = "is live" if record.live is slot.name else "runs"
            raise UsageError(
                f"Nothing was adopted: slot {slot.name} of {record.name} {runs} already.",
                cure="`substitute deploy` replaces it.",
            )


def _place(
    host: Host, app: App, record: AppRecord, port: int | None, *, listed: bool
) -> tuple[SlotName, tuple[Endpoint, ...]]:
    """The slot, and where its instance listens."""
    ports = {slot.endpoints[0].port: slot for slot in record.slots.values()}
    if port is None:
        taken = [one for one, slot in ports.items() if host.prober.holder(slot.endpoints[0])]
        if len(taken) != 1:
            which = "both" if taken else "neither"
            raise UsageError(
                f"It is not clear which app to adopt: on {which} of the ports {' and '.join(map(str, ports))} "
                "something listens.",
                cure="Name the port: `substitute adopt PORT`.",
            )
        (port,) = taken
    if port in ports:
        return ports[port].name, ports[port].endpoints[:1]
    other = ports[max(ports)].endpoints[0].port
    if listed:
        raise UsageError(
            f"Port {port} is none of the app's, and your balancer leads only to those that it lists.",
            cure=f"Write `ports = [{port}, {other}]` in [app.{app.name}], list both in your balancer, and adopt again.",
        )
    for name in host.journal.names():
        for slot in host.journal.app(name).slots.values():
            if slot.in_use and any(endpoint.port == port for endpoint in slot.endpoints):
                raise UsageError(f"Port {port} is that of {slot.full_name}.")
    return SlotName.A, (Endpoint(record.slots[SlotName.A].endpoints[0].host, port),)


def _found(host: Host, endpoints: tuple[Endpoint, ...]) -> Stranger:
    stranger = host.strangers.find(endpoints[0])
    if stranger is None:
        raise UsageError(
            f"Nothing listens on {endpoints[0]}.",
            cure="Name the port on which your app runs: `substitute adopt PORT`.",
        )
    if not host.is_ours(stranger.process):
        raise UsageError(
            f"What listens on {endpoints[0]} (pid {stranger.process.pid}) is kept by another root."
        )
    for endpoint in endpoints:
        if not host.instances.owned(endpoint, stranger.process):
            holder = host.prober.holder(endpoint) or "nobody"
            raise UsageError(
                f"{endpoint} is not that of the same app.",
                fact=f"{holder} listens on it, not pid {stranger.process.pid}.",
            )
    return stranger


def _require_good_answers(host: Host, app: App, endpoints: tuple[Endpoint, ...]) -> None:
    deadline = host.clock.monotonic() + _PATIENCE
    for endpoint in endpoints:
        while not (answer := host.prober.probe(endpoint, app.health)).good:
            if host.clock.monotonic() >= deadline:
                asked = f"{endpoint}{app.health.path}" if app.health.kind == "http" else str(endpoint)
                raise NotReadyError(
                    f"What listens on {endpoint} does not pass the health check of {app.name}.",
                    fact=f"{asked} answered: {answer.seen}.",
                    serves="Nothing was changed.",
                    cure=f"Set app.{app.name}.health to what it answers.",
                )
            host.clock.sleep(_TICK)


def _commit_of(host: Host, app: App, stranger: Stranger) -> str | None:
    """What git says of its directory, as its owner, where that is a clone of the app's repository."""

    def git(*words: str) -> list[str]:
        try:
            ended = host.commands.run(
                ["git", *words],
                directory=stranger.directory,
                environment={**host.caller, "HOME": "/nonexistent"},
                on_line=lambda _: None,
                on_start=lambda _: None,
                timeout=10,
                user=stranger.user,
            )
        except (OSError, SubstituteError):
            return []
        return list(ended.tail) if ended.status == 0 else []

    if git("config", "--get", "remote.origin.url") != [app.repo]:
        return None
    return next(iter(git("rev-parse", "HEAD")), None)


def _have_it_serve(host: Host, app: App, name: SlotName) -> None:
    try:
        settle(host, app)
    except LeftoverError as left:
        host.emit(Warned(f"{left.reason} {left.cure}"))
    except SubstituteError as error:
        host.journal.leave(app.name, name, fact_of(app.name), live=None)
        with suppress(OSError):
            app.current_link.unlink()
        write_pointers(host, app)
        if any(server.share for backend in host.journal.backends() for server in backend.servers):
            host.reroute()
        else:  # a balancer that leads to nothing is in the way of what serves without it
            host.balancer.stop()
        error.serves = "Nothing was adopted. The app runs as before."
        raise


def _told(app: App, slot: SlotRecord, stranger: Stranger, adopted: Adopted) -> str:
    version = f", commit {slot.commit[:10]}" if slot.commit else ""
    leaves = f"by `{' '.join(adopted.keeper.stop)}`" if adopted.keeper else "by SIGTERM"
    return (
        f"{app.name}: {adopted.called} on port {slot.endpoints[0].port} (pid {stranger.process.pid}{version}) is "
        f"live in slot {slot.name}. It goes on as it is; the first deployment lets it finish its requests and stops "
        f"it {leaves}."
    )
