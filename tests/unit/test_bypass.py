from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from substitute.core.deploy.running.bypass import require_led_here, require_none_come_past
from substitute.core.model.errors import RuntimeFailedError, UsageError
from substitute.core.model.slots import Endpoint
from substitute.core.ports.balancer import Traffic
from substitute.core.ports.prober import Connected
from tests.unit.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.host import Host
    from substitute.core.model.records import AppRecord, SlotRecord

APP = Endpoint("127.0.0.1", 3000)


@dataclass
class Street:
    """Connections that come to the app each second, through the balancer and past it."""

    through: int = 0
    past: Callable[[float], int] = lambda _: 0
    kept_through: int = 0
    kept_past: int = 0
    requests: int = 1
    clock: FakeClock = field(default_factory=FakeClock)
    due: float = 0.0
    due_past: float = 0.0
    opened: int = 0
    clients: set[Endpoint] = field(default_factory=set)

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.due += seconds * self.through
        self.due_past += seconds * self.past(self.clock.time)
        self.opened = int(self.due)
        for number in range(int(self.due) + int(self.due_past)):
            self.clients.add(Endpoint("127.0.0.1", number))

    @property
    def host(self) -> Host:
        now = SimpleNamespace(monotonic=self.clock.monotonic, sleep=self.sleep)
        connected = lambda _: Connected(frozenset(self.clients), self.kept_through + self.kept_past)  # noqa: E731
        traffic = lambda: {APP: Traffic(0, self.requests, 0, 100, self.opened, self.kept_through)}  # noqa: E731
        return cast(
            "Host",
            SimpleNamespace(
                clock=now,
                prober=SimpleNamespace(connected=connected),
                traffic=traffic,
                adopted=lambda _: "adopted",
                runs=lambda _: True,
            ),
        )


def slot(**more: Any) -> SlotRecord:
    return cast("SlotRecord", SimpleNamespace(endpoints=(APP,), drain_timeout=30.0, **more))


RECORD = cast("AppRecord", SimpleNamespace(name="shop", live_slot=slot()))


def test_what_comes_through_the_balancer_alone_is_let_on() -> None:
    for street in (Street(), Street(through=700), Street(kept_through=3), Street(through=20, kept_through=3)):
        require_led_here(street.host, RECORD)
        require_none_come_past(street.host, slot())


@pytest.mark.parametrize(
    "street",
    [
        Street(past=lambda _: 5),
        Street(through=20, past=lambda _: 5),
        pytest.param(Street(through=200, past=lambda _: 50), marks=pytest.mark.long),
        pytest.param(Street(through=1000, past=lambda _: 50), marks=pytest.mark.long),
        Street(kept_through=3, kept_past=1),
    ],
)
def test_what_comes_past_it_is_refused_before_anything_is_built_and_is_not_stopped(street: Street) -> None:
    with pytest.raises(UsageError, match="do not come from the balancer"):
        require_led_here(street.host, RECORD)
    with pytest.raises(RuntimeFailedError, match="was not stopped"):
        require_none_come_past(street.host, slot())


def test_before_the_first_request_through_the_balancer_nothing_is_known_of_what_leads_there() -> None:
    with pytest.raises(UsageError, match="No request has come to shop"):
        require_led_here(Street(requests=0).host, RECORD)


def test_one_that_is_about_to_leave_is_waited_for_while_the_front_of_the_users_is_moved() -> None:
    street = Street(past=lambda now: 5 * (now < 5))
    require_none_come_past(street.host, slot())
    assert 5 <= street.clock.time < 10
