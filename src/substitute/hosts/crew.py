"""Several hosts at once. Everything that they say comes to one thread, which shows it and takes Ctrl-C."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import HandedOverError, InterruptedByUserError
from substitute.hosts.orders import Order
from substitute.hosts.outcomes import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from substitute.core.interrupts import Interrupts
    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost

    Work = tuple[RemoteHost, Sequence[str]]
    Show = Callable[[Mapping[str, Any]], None]

TOLD = (
    "Interrupted: {hosts} told to end as soon as nothing is half-done. Ctrl-C again leaves at once; then what runs "
    "there goes on, and settles by itself."
)


class Crew:
    """Carries out orders, and passes on what happens, each event with its host."""

    def __init__(self, there: There, interrupts: Interrupts, show: Show) -> None:
        self._there, self._interrupts, self._show = there, interrupts, show
        self.was_interrupted = False
        self._said: queue.SimpleQueue[tuple[Order | str, Any]] = queue.SimpleQueue()

    def asking(self) -> AbstractContextManager[None]:
        """While nothing has begun: in here Ctrl-C raises InterruptedByUserError at once."""
        return self._interrupts.allowed()

    def carry_out(self, work: Sequence[Work], *, app: str = "") -> list[Outcome]:
        """Do all of it at once; the outcomes, in the same order. After an interruption nothing more begins."""
        if self.was_interrupted:
            return [Outcome(host.name, State.NOT_BEGUN) for host, _ in work]
        orders = [
            Order(self._there, host, words, lambda name, event: self._said.put((name, event)), app=app)
            for host, words in work
        ]
        for order in orders:
            threading.Thread(target=self._carry_out, args=(order,), daemon=True).start()
        found: dict[str, Outcome] = {}
        try:
            self._collect(found, orders, app)
        except InterruptedByUserError:
            self.was_interrupted = True
            with suppress(HandedOverError), self._interrupts.handing_over():
                self._call_off([order for order in orders if order.host.name not in found])
                self._collect(found, orders, app)
        return [found.get(order.host.name) or _left_alone(order) for order in orders]

    def _collect(self, found: dict[str, Outcome], orders: Sequence[Order], app: str) -> None:
        """Show what is said, until each has ended. Raises InterruptedByUserError at the first Ctrl-C."""
        while len(found) < len(orders):
            who, what = self._next()
            if isinstance(what, BaseException):
                raise what
            if isinstance(who, Order):
                found[who.host.name] = what
                self._show({"event": "host_ended", **what.document(), **({"app": app} if app else {})})
            else:
                self._show({**what, "host": who})

    def _next(self) -> tuple[Order | str, Any]:
        if self.was_interrupted:
            return self._said.get()
        with self._interrupts.allowed():
            return self._said.get()

    def _call_off(self, waiting: Sequence[Order]) -> None:
        for order in waiting:
            order.interrupt()
        count = len(waiting)
        hosts = f"{waiting[0].host.name} is" if count == 1 else f"{count} hosts are"
        self._show({"event": "notice", "message": TOLD.format(hosts=hosts)})

    def _carry_out(self, order: Order) -> None:
        try:
            self._said.put((order, order.carry_out()))
        except BaseException as error:  # noqa: BLE001  # it is raised where somebody sees it
            self._said.put((order, error))


def _left_alone(order: Order) -> Outcome:
    return Outcome(
        order.host.name,
        State.UNKNOWN,
        130,
        "It was left while it ran.",
        f"It goes on there, and settles by itself: see `substitute status --on {order.host.name}`.",
    )
