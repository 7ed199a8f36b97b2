from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.deploy.readiness.unready import places, to_listen
from substitute.core.model.errors import SubstituteError
from substitute.core.model.slots import Endpoint
from substitute.core.ports.prober import Answer

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def failure(shop: Shop) -> str:
    with pytest.raises(SubstituteError) as told:
        deploy(shop.host, shop.app, "v1")
    return f"{told.value.what} {told.value.cure}"


def answer(shop: Shop, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.host.prober, "probe", lambda *_: Answer(good=False, seen=seen))


def silence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.host.instances, "owned", lambda *_: None)


@pytest.mark.parametrize(
    ("status", "keys"),
    [
        ("400", ["health.host"]),
        ("401", ["health.path"]),
        ("403", ["health.host", "health.path"]),
        ("404", ["health.path"]),
        ("421", ["health.host"]),
        ("500", []),
        ("502", []),
    ],
)
def test_an_answer_that_stays_bad_is_met_with_the_key_that_mends_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, status: str, keys: list[str]
) -> None:
    answer(shop, status, monkeypatch)
    told = failure(shop)
    assert f"(last: {status})" in told
    for key in ("health.host", "health.path"):
        assert (f"set app.shop.{key}" in told.replace("Set", "set")) == (key in keys)
    assert "substitute logs a" in told


def test_more_time_is_advised_only_where_time_may_be_what_is_missing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status in ("400", "401", "404", "500"):
        answer(shop, status, monkeypatch)
        assert "app.shop.health.timeout" not in failure(shop)
    for seen in ("503", "no answer within 5 s", "connection refused"):
        answer(shop, seen, monkeypatch)
        assert "app.shop.health.timeout" in failure(shop)
    silence(shop, monkeypatch)
    told = failure(shop)
    assert "(last: nothing listens yet)" in told
    assert "app.shop.health.timeout" in told


def test_an_app_that_listens_elsewhere_is_told_where_and_what_it_should_be(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(shop, monkeypatch)
    shop.change(start="gunicorn -b $BIND shop:app")
    shop.world.listening = {Endpoint("127.0.0.1", 8000)}
    told = failure(shop)
    assert "(last: it listens on 127.0.0.1:8000, not on $PORT (3001))" in told
    assert "`gunicorn -b $ADDRESS`" in told
    assert "nothing listens" not in told
    assert "health.timeout" not in told


def test_one_that_begins_to_listen_at_the_last_moment_is_not_said_to_listen_elsewhere(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(shop, monkeypatch)
    shop.world.listening = {Endpoint("127.0.0.1", 3001), Endpoint("127.0.0.1", 9229)}
    told = failure(shop)
    assert "(last: nothing listens yet)" in told
    assert "app.shop.health.timeout" in told


def test_one_that_takes_ipv6_alone_on_the_right_port_is_told_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(shop, "connection refused", monkeypatch)
    shop.world.listening = {Endpoint("::", 3001)}
    assert "listens on port 3001 of all IPv6 addresses, not on 127.0.0.1:3001" in failure(shop)


def test_places_are_named_as_people_write_them_and_not_endlessly() -> None:
    assert places([Endpoint("::1", 3001)]) == "[::1]:3001"
    assert places([Endpoint("0.0.0.0", 8000)]) == "port 8000 of all IPv4 addresses"
    many = [Endpoint("127.0.0.1", port) for port in range(1, 6)]
    assert places(many) == "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3 and 2 more"


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("venv/bin/gunicorn -w 2 shop:app", "gunicorn -b $ADDRESS"),
        ("python3 -m uvicorn shop:app", "uvicorn --host $HOST --port $PORT"),
        ("python manage.py runserver", "manage.py runserver $ADDRESS"),
        ("bundle exec puma", "puma -b tcp://$ADDRESS"),
        ("node www.js", "server.listen(process.env.PORT, process.env.HOST)"),
        ("exec npm start", "server.listen(process.env.PORT, process.env.HOST)"),
        ("./serve", "$ADDRESS, or $HOST and $PORT"),
    ],
)
def test_the_line_that_makes_it_listen_is_that_of_the_program(start: str, line: str) -> None:
    assert line in to_listen(Endpoint("127.0.0.1", 3001), start)
