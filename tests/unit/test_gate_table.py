"""The gate's rules as data: which endpoint leads where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.passive.rules import Passage, leading, passages, reached, refusing, table_name
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server
from substitute.linux.connections import LED_BIT
from substitute.linux.probe_group import PROBE_MARK

if TYPE_CHECKING:
    from pathlib import Path

A, B = Endpoint("127.0.0.1", 3001), Endpoint("127.0.0.1", 3002)


def shop(a: int, b: int, *, first: Endpoint = A, second: Endpoint = B) -> Backend:
    return Backend("shop", (), (Server(SlotName.A, first, a), Server(SlotName.B, second, b)))


def led(*backends: Backend) -> dict[Endpoint, Endpoint | None]:
    return {p.endpoint: p.target for p in passages(backends, lambda _: False)}


def listing(commands: list[dict[str, Any]]) -> dict[str, Any]:
    """What the kernel lists once it has taken `commands`."""
    return {"nftables": [command["add"] for command in commands if "rule" in command.get("add", {})]}


def rules(commands: list[dict[str, Any]], chain: str) -> list[dict[str, Any]]:
    found = [command["add"].get("rule", {}) for command in commands if "add" in command]
    return [rule for rule in found if rule.get("chain") == chain]


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (100, 0, {A: A, B: A}),
        (0, 100, {A: B, B: B}),
        (50, 50, {A: A, B: B}),
        (1, 99, {A: A, B: B}),
        (0, 0, {A: None, B: None}),
    ],
)
def test_a_port_without_a_share_leads_to_the_one_that_has_it(
    a: int, b: int, wanted: dict[Endpoint, Endpoint | None]
) -> None:
    assert led(shop(a, b)) == wanted


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=4))
def test_no_connection_is_ever_led_to_a_slot_without_a_share(shares: list[tuple[int, int]]) -> None:
    backends = [
        shop(a, b, first=Endpoint("::1", 3001 + 10 * n), second=Endpoint("::1", 3002 + 10 * n))
        for n, (a, b) in enumerate(shares)
    ]
    share = {server.endpoint: server.share for backend in backends for server in backend.servers}
    wanted = passages(backends, lambda _: False)
    assert {p.endpoint for p in wanted} == set(share)
    for passage in wanted:
        assert passage.target is None or share[passage.target]
        assert passage.target == passage.endpoint or not share[passage.endpoint]
    for commands in (leading("t", wanted, flip_ports=True), leading("t", wanted, flip_ports=False)):
        assert reached(listing(commands)) == {p.endpoint: p.target for p in wanted}


def test_every_rule_spares_probes_and_meets_only_the_first_packet() -> None:
    wanted = passages([shop(100, 0), shop(0, 0, first=Endpoint("::1", 4001))], lambda _: False)
    commands = leading("t", wanted, flip_ports=True)
    for rule in [*rules(commands, "lead"), *rules(commands, "refuse")]:
        matches = [e["match"] for e in rule["expr"] if "match" in e]
        assert {"op": "!=", "left": {"meta": {"key": "mark"}}, "right": PROBE_MARK} in matches
        assert any(match["right"] == "syn" for match in matches)


def test_connections_are_tracked_also_while_nothing_is_led() -> None:
    commands = leading("t", passages([shop(50, 50)], lambda _: False), flip_ports=True)
    assert rules(commands, "postrouting")


def test_led_connections_leave_from_a_port_of_their_own_or_from_a_spare_address() -> None:
    wanted = passages([shop(100, 0)], lambda _: False)
    (flipped,) = rules(leading("t", wanted, flip_ports=True), "postrouting")
    assert flipped["expr"][-1]["snat"]["port"]["^"][1] == LED_BIT
    (spare,) = rules(leading("t", wanted, flip_ports=False), "postrouting")
    assert spare["expr"][-1]["snat"] == {"family": "ip", "addr": "127.0.0.3"}


def test_the_table_is_emptied_and_never_deleted_while_the_gate_is_in_use() -> None:
    wanted = passages([shop(100, 0)], lambda _: False)
    for commands in (leading("t", wanted, flip_ports=True), refusing("t", wanted)):
        assert not any("delete" in command for command in commands)
        assert "flush" in commands[1]


def test_without_nat_what_would_be_led_is_refused() -> None:
    wanted = passages([shop(100, 0)], lambda _: False)
    assert reached(listing(refusing("t", wanted))) == {A: A, B: None}


def test_an_instance_that_listens_everywhere_is_led_on_every_address_after_the_particular_ones() -> None:
    other = shop(100, 0, first=Endpoint("10.0.0.5", 3001), second=Endpoint("10.0.0.5", 3002))
    wanted = passages([shop(0, 100), other], lambda endpoint: endpoint == B)
    assert [p.everywhere for p in wanted] == [False, False, True, True]
    commands = leading("t", wanted, flip_ports=True)
    local = [rule["comment"] for rule in rules(commands, "lead") if "fib" in str(rule["expr"])]
    assert local == [str(A), str(B)]


def test_a_slot_on_another_address_is_led_to_with_its_address() -> None:
    moved = Endpoint("10.0.0.5", 3002)
    commands = leading("t", [Passage(A, moved), Passage(moved, moved)], flip_ports=True)
    assert rules(commands, "lead")[0]["expr"][-1] == {
        "dnat": {"family": "ip", "addr": "10.0.0.5", "port": 3002}
    }
    assert reached(listing(commands))[A] == moved


def test_each_root_has_a_table_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert table_name(tmp_path / "one") == table_name(tmp_path / "link")
    assert table_name(tmp_path / "one") != table_name(tmp_path / "two")
    assert table_name(tmp_path / "one").startswith("substitute_")
