from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.haproxy_configuration import Settings, hard_stop_of, render, shares, structure
from substitute.core.ports import Backend, Server
from substitute.core.slots import Endpoint, SlotName

SETTINGS = Settings(
    listen="127.0.0.1:8080",
    binary=None,
    client_timeout=60.0,
    server_timeout=3600.0,
    trusted_proxies=("127.0.0.0/8", "::1"),
)
A, B = SlotName.A, SlotName.B


def backend(a: int = 100, b: int = 0, **changes: object) -> Backend:
    servers = (Server(A, Endpoint("127.0.0.1", 3001), a), Server(B, Endpoint("127.0.0.1", 3002), b))
    return replace(Backend("shop", (), servers), **changes)  # type: ignore[arg-type]


def lines(*backends: Backend, settings: Settings = SETTINGS) -> list[str]:
    return [line.strip() for line in render(settings, backends).splitlines()]


apps = st.builds(
    Backend,
    app=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    domains=st.lists(st.from_regex(r"[a-z0-9]{1,9}\.example", fullmatch=True), max_size=3).map(tuple),
    servers=st.lists(
        st.builds(
            Server,
            slot=st.sampled_from(SlotName),
            endpoint=st.builds(
                Endpoint, host=st.sampled_from(("127.0.0.1", "::1", "app.lan")), port=st.integers(1, 65535)
            ),
            share=st.integers(0, 100),
        ),
        max_size=4,
    ).map(tuple),
    drain_timeout=st.floats(0, 3600),
)
roots = st.lists(apps, max_size=4, unique_by=lambda app: app.app)


@given(roots)
def test_every_server_stands_in_its_backend_with_its_share(root: list[Backend]) -> None:
    section, found = "", {}
    for line in lines(*root):
        words = line.split()
        if words[0] == "backend":
            section = words[1]
        if words[0] == "server":
            found[section, words[1]] = (words[2], words[3:])
    expected = {key: ["weight", str(share)] for key, share in shares(root)}
    assert {key: weight for key, (_, weight) in found.items()} == expected
    assert [address for address, _ in found.values()] == [
        str(s.endpoint) for app in root for s in app.servers
    ]


@given(roots, st.integers(0, 100))
def test_shares_do_not_change_the_structure(root: list[Backend], share: int) -> None:
    other = [
        replace(app, servers=tuple(replace(server, share=share) for server in app.servers)) for app in root
    ]
    assert structure(SETTINGS, root) == structure(SETTINGS, other)


@pytest.mark.parametrize(
    "changed",
    [
        backend(app="blog"),
        backend(domains=("shop.example.com",)),
        backend(drain_timeout=60.0),
        backend(servers=(Server(A, Endpoint("127.0.0.1", 3001), 100),)),
        backend(servers=backend().servers[::-1]),
        backend(servers=(Server(A, Endpoint("127.0.0.2", 3001), 100), backend().servers[1])),
    ],
)
def test_all_else_of_an_app_does(changed: Backend) -> None:
    assert structure(SETTINGS, [backend()]) != structure(SETTINGS, [changed])


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, listen="*:80"),
        replace(SETTINGS, client_timeout=5.0),
        replace(SETTINGS, server_timeout=5.0),
        replace(SETTINGS, trusted_proxies=()),
    ],
)
def test_and_so_do_the_settings(changed: Settings) -> None:
    assert structure(SETTINGS, [backend()]) != structure(changed, [backend()])


def test_the_file_names_its_own_structure() -> None:
    assert f"description {structure(SETTINGS, [backend()])}" in lines(backend())


def test_a_slot_with_several_endpoints_numbers_them() -> None:
    servers = tuple(Server(A, Endpoint("127.0.0.1", port), 50) for port in (3001, 3003))
    assert dict(shares([backend(servers=servers)])) == {("app_shop", "a0"): 50, ("app_shop", "a1"): 50}


def test_an_app_without_domains_is_the_default() -> None:
    assert "default_backend app_shop" in lines(backend())


def test_where_all_apps_have_domains_an_unknown_host_gets_none_of_them() -> None:
    found = lines(backend(domains=("shop.example.com",)))
    assert "default_backend unknown_host" in found
    assert any(re.fullmatch(r"use_backend app_shop if .* shop\.example\.com \}", line) for line in found)


def test_domains_are_compared_in_lower_case() -> None:
    assert any("-m str shop.example.com }" in line for line in lines(backend(domains=("Shop.Example.COM",))))


def test_a_replaced_worker_may_stay_as_long_as_the_longest_drain_and_a_little() -> None:
    text = render(SETTINGS, [backend(drain_timeout=12.5), backend(app="blog", drain_timeout=90.0)])
    assert 90 < hard_stop_of(text) < 120


def test_nothing_is_said_of_a_file_that_is_not_there() -> None:
    assert hard_stop_of("") == 0


def test_timeouts_are_those_of_the_settings() -> None:
    found = lines(backend(), settings=replace(SETTINGS, client_timeout=0.25, server_timeout=7200.0))
    assert {"timeout client 250ms", "timeout server 7200000ms"} <= set(found)


def test_where_nobody_is_trusted_what_clients_say_of_forwarding_is_always_removed() -> None:
    trusting, strict = lines(backend()), lines(backend(), settings=replace(SETTINGS, trusted_proxies=()))
    assert "http-request del-header X-Forwarded- -m beg unless trusted" in trusting
    assert "http-request del-header X-Forwarded- -m beg" in strict
    assert not any("trusted" in line for line in strict)
