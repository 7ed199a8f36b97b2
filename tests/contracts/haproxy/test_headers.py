"""What apps and clients are told."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy.names import DRILL_HEADER, SLOT_HEADER
from substitute.http import exchange
from tests.contracts import haproxies
from tests.contracts.balanced_site import Kind, Site, site_in
from tests.contracts.haproxies import headers
from tests.contracts.strict_client import get

if TYPE_CHECKING:
    from pathlib import Path

SAID = {
    "X_Forwarded_For": "203.0.113.9",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "shop.example.com",
}


def test_the_app_learns_who_asked_for_what(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, Host="shop.example.com:8080") == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "shop.example.com:8080",
    }


def test_what_a_trusted_proxy_says_of_the_client_is_kept(site: Site) -> None:
    site.route(100, 0)
    assert headers(site, **SAID) == {key.lower().replace("_", "-"): value for key, value in SAID.items()}


@pytest.mark.parametrize("trusted", [(), ("192.0.2.0/24",)])
def test_nobody_else_can_pretend_to_be_somebody(
    binary: str, tmp_path: Path, trusted: tuple[str, ...]
) -> None:
    make = partial(haproxies.make, binary=binary, trusted=trusted)
    with site_in(tmp_path, Kind(make, haproxies.restart)) as site:
        site.start_both()
        site.route(100, 0)
        seen = headers(
            site, Host="x", **SAID, X_Forwarded_Port="1", x_forwarded_prefix="/", Forwarded="for=1"
        )
        assert seen == {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "x"}


def test_only_who_asks_as_a_drill_is_told_the_slot_and_no_app_sees_that(site: Site) -> None:
    def answered(**headers: str) -> tuple[str | None, dict[str, str]]:
        reply = exchange.get(f"http://{site.listen}/headers", 10, headers)
        return reply.head.headers.get(SLOT_HEADER.lower()), json.loads(reply.body)

    asks = {DRILL_HEADER: "1"}
    for shares, slot in (((100, 0), "a"), ((0, 100), "b")):
        site.route(*shares)
        told, seen = answered(**asks)
        assert told == slot
        assert DRILL_HEADER.lower() not in seen
        assert answered()[0] is None
        assert answered(**{SLOT_HEADER: "b"})[0] is None


@pytest.mark.parametrize(("count", "length"), [(1, 65536), (16, 4096), (900, 72)])
def test_headers_of_64_kb_pass(site: Site, count: int, length: int) -> None:
    site.route(100, 0)
    sent = {f"X_{number}": "x" * length for number in range(count)}
    status, said = get(site.listen, "/headers", **sent)
    assert status == 200
    assert {name: value for name, value in json.loads(said).items() if "x" * 72 in value} == {
        name.lower().replace("_", "-"): value for name, value in sent.items()
    }
