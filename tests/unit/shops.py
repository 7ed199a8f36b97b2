"""What tests ask of a shop after a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.core.model.events import Notice
from substitute.core.model.slots import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from substitute.core.model.programs import Stopped
    from tests.unit.fakes.shop import Shop


A, B = Endpoint("127.0.0.1", 3001), Endpoint("127.0.0.1", 3002)


def live(shop: Shop) -> str | None:
    return shop.host.journal.app("shop").live


def notices(shop: Shop) -> str:
    return "\n".join(event.message for event in shop.events if isinstance(event, Notice))


def stopping(shop: Shop, monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Have `what` happen while an instance exits."""
    stop = shop.host.runtime.stop

    def and_more(*args: Any, **options: Any) -> Stopped:
        what()
        return stop(*args, **options)

    monkeypatch.setattr(shop.host.runtime, "stop", and_more)
