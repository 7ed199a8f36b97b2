"""What `adopt` leaves where the traffic could not be led, and how what it adopted ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import BalancerError
from substitute.core.model.programs import Process
from substitute.core.operate.adoption import adopt
from substitute.core.ports.strangers import Stranger
from tests.unit.fakes.shop import make_shop

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = make_shop(tmp_path)
    process = Process(7, 7, "boot")
    made.world.running["shop_a"] = process
    made.world.strangers.found[3001] = Stranger(process, Path("/srv/old"), None, None)
    return made


def test_where_the_balancer_does_not_obey_nothing_was_adopted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("substitute.core.operate.adoption._require_nothing_runs", lambda *_: None)
    monkeypatch.setattr("substitute.core.operate.adoption._require_good_answers", lambda *_: None)
    shop.world.balancer_obeys = False
    with pytest.raises(BalancerError) as raised:
        adopt(shop.host, shop.app, 3001, listed=True)
    assert "Nothing was adopted" in str(raised.value)
    assert shop.host.journal.app("shop").live is None
    assert shop.host.journal.history("shop") == []
    assert shop.host.adopted(shop.host.journal.app("shop").slots["a"]) is None  # type: ignore[index]
