"""Which version a client gets: one that it asked for by its token, and the one that it has met."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.clients import OVER
from substitute.core.model.slots import SlotName
from substitute.core.ports.balancer import Preview
from substitute.values import replace
from tests.contracts.balanced_site import B, Site
from tests.contracts.haproxies import headers

if TYPE_CHECKING:
    from substitute.core.model.slots import Endpoint

TOKEN = "0123456789abcdef"  # noqa: S105  # of no use elsewhere


def ask(where: Endpoint, path: str = "/", method: str = "GET", **sent: str) -> tuple[int, str, str, str]:
    """Status, text, Set-Cookie and Location of one request."""
    connection = http.client.HTTPConnection(where.host, where.port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in sent.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers.get("Set-Cookie", ""), answer.headers.get("Location", "")


def test_who_has_the_token_gets_what_is_held_and_nobody_else(site: Site) -> None:
    site.route(100, 0)
    assert ask(site.listen, X_Substitute_Preview=TOKEN)[1] == "a0"
    held = replace(site.shop(100, 0), preview=Preview(TOKEN, B))
    site.balancer.route([held])
    (link,) = site.balancer.previews(held)
    path = "/" + link.split("/", 3)[3]
    status, _, cookie, location = ask(site.listen, path)
    assert (status, location) == (302, "/")
    assert cookie.startswith(f"substitute-preview={TOKEN};")
    for sent in ({"Cookie": f"substitute-preview={TOKEN}"}, {"X_Substitute_Preview": TOKEN}):
        assert {ask(site.listen, method=method, **sent)[1] for method in ("GET", "POST")} == {"b0"}
    for sent in ({}, {"Cookie": "substitute-preview=other"}, {"X_Substitute_Preview": ":share:app_shop"}):
        assert [ask(site.listen, **sent)[1] for _ in range(3)] == ["a0"] * 3
    assert ask(site.listen, path.replace(TOKEN, "other"))[:2] == (404, OVER)
    site.balancer.route([site.shop(100, 0)])
    assert ask(site.listen, X_Substitute_Preview=TOKEN)[1] == "a0"
    assert ask(site.listen, path)[:2] == (404, OVER)


def test_who_previews_a_version_gets_it_while_both_share_the_requests_too(site: Site) -> None:
    for held in SlotName:
        site.balancer.route([replace(site.shop(50, 50), preview=Preview(TOKEN, held))])
        clients = [f"substitute={number}; substitute-preview={TOKEN}" for number in range(10)]
        assert {ask(site.listen, Cookie=cookie)[1] for cookie in clients} == {f"{held}0"}


def test_a_client_stays_with_the_version_that_it_met(site: Site) -> None:
    site.route(70, 30)
    met: dict[str, str] = {}
    for _ in range(60):
        _, text, cookie, _ = ask(site.listen)
        met[cookie.partition(";")[0]] = text
    assert set(met.values()) == {"a0", "b0"}
    for cookie, text in met.items():
        assert {ask(site.listen, method=method, Cookie=cookie)[:3] for method in ("GET", "POST")} == {
            (200, text, "")
        }
    site.route(40, 60)
    now = {cookie: ask(site.listen, Cookie=cookie)[1] for cookie in met}
    assert all(now[cookie] == "b0" for cookie, text in met.items() if text == "b0")
    assert set(now.values()) == {"a0", "b0"}
    site.route(0, 100)
    assert {ask(site.listen, Cookie=cookie)[1] for cookie in met} == {"b0"}
    assert ask(site.listen)[2] == ""


def test_with_another_draw_other_clients_are_the_first(site: Site) -> None:
    site.route(50, 50)
    cookies = [f"substitute={number}" for number in range(40)]
    before = [ask(site.listen, Cookie=cookie)[1] for cookie in cookies]
    site.balancer.route([replace(site.shop(50, 50), draw=7)])
    assert [ask(site.listen, Cookie=cookie)[1] for cookie in cookies] != before
    for candidate in SlotName:
        site.balancer.route([replace(site.shop(50, 50), candidate=candidate)])
        asked = {
            wish: {ask(site.listen, X_Substitute_Canary=wish)[1] for _ in range(6)} for wish in ("yes", "No")
        }
        assert asked == {"yes": {f"{candidate}0"}, "No": {f"{candidate.other}0"}}
    assert "Set-Cookie" not in headers(site, Cookie="substitute=x")
