from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.traefik.balancer import connect
from substitute.balancers.traefik.configuration import apps, is_ours, render, service, weights
from substitute.core.model.errors import ConfigError
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server

A, B = SlotName.A, SlotName.B

servers = st.builds(
    Server,
    slot=st.sampled_from(SlotName),
    endpoint=st.builds(
        Endpoint, host=st.sampled_from(("127.0.0.1", "::1", "app.lan")), port=st.integers(1, 65535)
    ),
    share=st.integers(0, 100),
)
backends = st.builds(
    Backend,
    app=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    domains=st.just(()),
    servers=st.lists(servers, min_size=1, max_size=4, unique_by=lambda server: server.endpoint).map(tuple),
)
roots = st.lists(backends, max_size=4, unique_by=lambda backend: backend.app)


def shop(a: int = 100, b: int = 0, host: str = "127.0.0.1") -> Backend:
    return Backend("shop", (), (Server(A, Endpoint(host, 3001), a), Server(B, Endpoint(host, 3002), b)))


def http(*root: Backend) -> dict[str, Any]:
    comment, _, document = render(root).partition("\n")
    assert comment.startswith("# ")
    found: dict[str, Any] = json.loads(document).get("http", {})
    return found


def tables(value: object) -> list[object]:
    if isinstance(value, dict):
        return [value, *(table for inner in value.values() for table in tables(inner))]
    if isinstance(value, list):
        return [value, *(table for inner in value for table in tables(inner))]
    return []


@given(roots)
def test_every_server_stands_in_its_service_with_its_share(root: list[Backend]) -> None:
    found = http(*root).get("services", {})
    assert {app: known["loadBalancer"]["servers"] for app, known in found.items()} == {
        backend.app: [
            {"url": f"http://{server.endpoint}", "weight": server.share} for server in backend.servers
        ]
        for backend in root
    }


@given(roots)
def test_what_is_written_is_read_back(root: list[Backend]) -> None:
    assert apps(render(root)) == {
        backend.app: tuple(server.endpoint for server in backend.servers) for backend in root
    }


@given(roots)
def test_no_table_is_empty_but_the_whole_for_traefik_would_refuse_it(root: list[Backend]) -> None:
    assert all(tables(http(*root))) or not root


@given(roots)
def test_nothing_in_it_is_a_template(root: list[Backend]) -> None:
    assert "{{" not in render(root)


def test_a_slot_without_a_share_is_there_with_weight_0() -> None:
    assert weights(shop(0, 100)) == {"http://127.0.0.1:3001": 0, "http://127.0.0.1:3002": 100}
    assert http(shop(0, 0))["services"]["shop"]["loadBalancer"]["servers"][0]["weight"] == 0


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert list(weights(shop(host="::1"))) == ["http://[::1]:3001", "http://[::1]:3002"]


def test_each_app_has_a_transport_of_its_own_that_lets_idle_connections_go_before_any_app_does() -> None:
    found = http(shop())
    name = found["services"]["shop"]["loadBalancer"]["serversTransport"]
    assert name == "substitute-shop"
    assert found["serversTransports"][name] == {"forwardingTimeouts": {"idleConnTimeout": "1s"}}


def test_the_routers_of_the_user_are_left_to_the_user() -> None:
    assert set(http(shop())) == {"services", "serversTransports"}
    assert service("shop") == "shop@file"


def test_only_a_file_of_ours_or_an_empty_one_may_be_replaced() -> None:
    assert is_ours("")
    assert is_ours(" \n")
    assert is_ours(render([shop()]))
    assert not is_ours("http: {routers: {}}")


@pytest.mark.parametrize(
    "text", ["", "http: {}", "# a comment", "[]", '{"http": 3}', '{"http": {"services": {"x": {}}}}']
)
def test_a_file_that_is_none_of_ours_has_no_apps(text: str) -> None:
    assert apps(text) == {}


def test_a_name_that_traefik_would_not_read_as_yaml_is_refused() -> None:
    settings = SimpleNamespace(file="traefik.conf", api="http://127.0.0.1:8080")
    with pytest.raises(ConfigError, match=r"traefik\.conf"):
        connect(Path("/srv"), None, settings, print)  # type: ignore[arg-type]
