"""Servers on other machines, which HAProxy looks at itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from substitute.balancers.haproxy import answers, arrival, file, program
from substitute.balancers.haproxy.adjusting import adjusted, serves
from substitute.balancers.haproxy.answers import Look
from substitute.balancers.haproxy.configuration import render, structure
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server
from tests.unit.test_haproxy_configuration import SETTINGS

A, B = SlotName.A, SlotName.B
NODES = 3


def shop(a: int = 100, b: int = 0, *, checked: bool = True, **changes: object) -> Backend:
    servers = tuple(
        Server(slot, Endpoint(f"10.0.0.{node}", 30000 + ord(slot)), share, checked=checked)
        for slot, share in ((A, a), (B, b))
        for node in range(NODES)
    )
    return replace(Backend("shop", (), servers), **changes)  # type: ignore[arg-type]


def sections(*backends: Backend) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for section, line in file.lines(render(SETTINGS, backends)):
        found.setdefault(section, []).append(line.strip())
    return found


def servers(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("server ")]


def test_one_backend_looks_at_them_and_the_others_follow() -> None:
    found = sections(shop(assets=("/assets/",), spare=B))
    check = "check inter 500ms fastinter 100ms fall 2 rise 2 tcp-ut 30s"
    assert servers(found["app_shop"])[0] == f"server a0 10.0.0.0:30097 weight 100 {check}"
    assert servers(found["app_shop"])[-1] == "server wait 127.0.0.1:0 weight 1 backup"
    for name in ("app_shop_kept", "app_shop_other_a"):
        assert servers(found[name])[0] == "server a0 10.0.0.0:30097 weight 0 track app_shop/a0 tcp-ut 2s"
    assert servers(found["app_shop_last"])[0].endswith("weight 100 track app_shop/a0 tcp-ut 2s")
    for name in ("app_shop", "app_shop_kept", "app_shop_other_a", "app_shop_other_b", "app_shop_last"):
        assert {"option srvtcpka", "srvtcpka-idle 1s", "srvtcpka-intvl 1s", "srvtcpka-cnt 2"} <= {
            *found[name]
        }


def test_an_app_without_such_servers_is_written_as_if_there_were_no_others() -> None:
    other = shop(checked=False, app="blog", assets=("/assets/",), hold=3.0)
    alone, beside = sections(other), sections(other, shop(assets=("/assets/",)))
    mine = [name for name in alone if name.startswith("app_blog")]
    assert len(mine) == 5
    assert {name: alone[name] for name in mine} == {name: beside[name] for name in mine}
    for word in ("check", "track", "srv_is_up", "tcp-ut", "srvtcpka", "hash"):
        assert word not in render(SETTINGS, [other]).split()


def test_whether_they_are_looked_at_needs_a_reload_before_they_can_serve() -> None:
    before, now = shop(checked=False), shop()
    assert structure(SETTINGS, [before]) != structure(SETTINGS, [now])
    text = adjusted(render(SETTINGS, [before]), [now])
    assert not serves(text, [now])
    assert serves(text, [before])
    assert serves(text, [shop(0, 0)]), "who has no share needs none"


def test_requests_wait_while_somebody_has_a_share_or_shall_have_one() -> None:
    for backend, weight in ((shop(), 1), (shop(0, 0), 0), (shop(0, 0, waits=True, hold=9.0), 1)):
        assert file.servers(render(SETTINGS, [backend]))["app_shop", "wait"] == ("127.0.0.1:0", weight)


def test_a_file_tells_the_shares_of_slots_and_which_one_is_spare() -> None:
    text = render(SETTINGS, [shop(90, 10, assets=("/assets/",), spare=B)])
    assert file.shares(text, "shop") == {A: 90, B: 10}
    assert file.spare(text, "shop") is B
    assert file.spare(render(SETTINGS, [shop()]), "shop") is None
    assert file.shares("", "shop") == {A: 0, B: 0}
    assert file.checked(text) == {("app_shop", f"{slot}{node}") for slot in SlotName for node in range(NODES)}


def looks(*there: str) -> dict[tuple[str, str], Look]:
    names = [f"{slot}{node}" for slot in SlotName for node in range(NODES)]
    return {("app_shop", name): Look(name in there, "") for name in names}


@pytest.mark.parametrize(
    ("before", "after", "there", "missing"),
    [
        ((100, 0), (0, 100), ("a0",), [B]),
        ((100, 0), (0, 100), ("a0", "b2"), []),
        ((100, 0), (0, 100), (), [B]),
        ((100, 0), (90, 10), ("a0",), [B]),
        ((100, 0), (90, 10), ("b0",), []),  # what is taken from a does not serve there
        ((90, 10), (0, 100), ("a0",), [B]),
        ((90, 10), (100, 0), ("b0",), [A]),
        ((90, 10), (90, 0), ("b0",), [A]),
        ((90, 10), (90, 0), (), []),  # there is nothing to lose
        ((0, 0), (100, 0), (), [A]),
        ((0, 0), (100, 0), ("a1",), []),
    ],
)
def test_who_has_to_be_reached_before_anything_is_taken_from_the_other(
    before: tuple[int, int], after: tuple[int, int], there: tuple[str, ...], missing: list[SlotName]
) -> None:
    (move,) = arrival.moves(render(SETTINGS, [shop(*before)]), [shop(*after)])
    assert move.unreached(looks(*there)) == missing


def test_one_that_is_not_looked_at_counts_as_reached() -> None:
    (move,) = arrival.moves(render(SETTINGS, [shop(100, 0)]), [shop(0, 100)])
    assert move.unreached({}) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (shop(100, 0), shop(100, 0)),
        (shop(100, 0), shop(0, 0)),
        (shop(100, 0), shop(0, 0, waits=True, hold=3.0)),
        (shop(100, 0, checked=False), shop(0, 100, checked=False)),
    ],
)
def test_nothing_is_waited_for_where_no_such_slot_gets_more(before: Backend, after: Backend) -> None:
    assert arrival.moves(render(SETTINGS, [before]), [after]) == []


def test_at_first_nothing_is_taken_from_anybody() -> None:
    written = render(SETTINGS, [shop(100, 0, assets=("/assets/",), spare=B)])
    wanted = [shop(0, 100, assets=("/assets/",), spare=A), shop(app="blog")]
    first, other = arrival.first(wanted, arrival.moves(written, wanted))
    assert {server.slot: server.share for server in first.servers} == {A: 100, B: 0}
    assert first.spare is B
    assert other == wanted[1], "it had nothing, so it gets at once what it shall have"


HEAD = "# pxname,svname,status,check_status,check_desc,last_chk" + "," * 30


def test_one_that_was_not_looked_at_yet_is_not_reached() -> None:
    rows = {
        "a0": ("UP", "L4OK", "Layer4 check passed", ""),
        "a1": ("UP", "* L4OK", "Layer4 check passed", ""),
        "a2": ("UP", "INI", "Initializing", ""),
        "b0": ("DOWN", "L4TOUT", "Layer4 timeout", ""),
        "b1": ("UP 1/2", "L4CON", "Layer4 connection problem", "Connection refused"),
        "b2": ("DOWN 1/2", "L4OK", "Layer4 check passed", ""),
        "kept": ("UP", "", "", ""),
    }
    text = "\n".join([HEAD, *(",".join(("app_shop", name, *row)) + "," * 30 for name, row in rows.items())])
    seen = answers.looks(text)
    assert {name for (_, name), look in seen.items() if look.answers} == {"a0", "a1"}
    assert seen["app_shop", "b1"].saw == "Layer4 connection problem: Connection refused"
    assert ("app_shop", "kept") not in seen


def test_an_app_that_runs_nowhere_is_no_complaint() -> None:
    said = "[ALERT] (1) : backend 'app_shop' has no server available!\n[ALERT] (1) : cannot bind"
    assert program.complaint(said) == "[ALERT] (1) : cannot bind"
