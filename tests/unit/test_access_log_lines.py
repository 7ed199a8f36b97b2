from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.haproxy import log_lines
from substitute.core.model.slots import SlotName
from substitute.core.ports.access_log import CUT, Answered


@dataclass
class Line:
    """A line of HAProxy's, by the parts that a test cares for."""

    state: str = "--"
    status: int = 200
    retries: str = "0"
    times: str = "0 12 13"
    backend: str = "app_shop_kept"
    server: str = "a0"
    client: str = "-931300555876867258"
    mark: str = " -"
    request: str = "{shop.example.com|https} GET /search"

    def __str__(self) -> str:
        return (
            f"1795809504600 {self.state} {self.status} {self.retries} {self.times} {self.backend} {self.server} "
            f"{self.client}{self.mark} {self.request}"
        )


def read(line: object, app: str = "shop") -> Answered | None:
    return next(log_lines.read([str(line)], app), None)


def found(line: object) -> Answered:
    one = read(line)
    assert one
    return one


def test_a_line_says_what_became_of_a_request() -> None:
    assert found(Line()) == Answered(
        app="shop",
        slot=SlotName.A,
        method="GET",
        path="/search",
        host="shop.example.com",
        scheme="https",
        status=200,
        broken=False,
        seconds=0.012,
        client="-931300555876867258",
        at=1795809504.6,
    )


def test_a_mark_says_what_is_known_of_the_client_and_a_line_without_one_is_of_an_earlier_release() -> None:
    marked = [found(Line(mark=mark)) for mark in (" chosen", " new", " -", "")]
    assert [(one.chosen, one.new) for one in marked] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]
    assert found(Line(mark="")) == found(Line())


def test_both_backends_of_an_app_are_one_app_and_another_app_is_none_of_it() -> None:
    assert found(Line(backend="app_shop", server="b12")).slot is SlotName.B
    assert read(Line(backend="app_shop-two_kept")) is None
    assert read(Line(backend="app_shop-two_kept"), "shop-two") is not None


@pytest.mark.parametrize(
    "line",
    [
        Line(server="again"),
        Line(backend="newest", server="front"),
        Line(backend="front", server="<NOSRV>", request="- <BADREQ> <BADREQ>", client="-"),
        "",
        "Pid: 812",
        "No such event sink",
    ],
    ids=["first of two tries", "handed to the newest worker", "no HTTP", "empty", "show info", "no ring"],
)
def test_what_is_answered_elsewhere_or_is_no_line_is_passed_over(line: object) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    ("state", "status", "broken", "failed"),
    [
        ("--", 200, False, False),
        ("--", 404, False, False),
        ("--", 500, False, True),
        ("SH", 502, True, True),
        ("SD", 200, True, True),
        ("sH", 504, True, True),
        ("SC", 503, True, True),
        ("CD", 200, False, False),
        ("CH", -1, False, False),
        ("cD", 200, False, False),
        ("SD", 101, False, False),
    ],
)
def test_an_instance_that_breaks_off_is_told_from_a_client_that_leaves(
    state: str, status: int, *, broken: bool, failed: bool
) -> None:
    one = found(Line(state=state, status=status))
    assert (one.broken, one.failed) == (broken, failed)


def test_the_time_is_that_until_the_answer_of_the_instance_that_gave_it() -> None:
    assert found(Line(times="480 20 999")).seconds == 0.5
    assert found(Line(times="1500 20 999", retries="+1")).seconds == 0.02
    assert found(Line(times="0 -1 30000", state="CH", status=-1)).seconds == 30.0
    assert found(Line(times="-1 -1 8000", state="SC", status=503)).seconds == 8.0


def test_where_no_instance_has_a_share_nobody_is_named() -> None:
    one = found(Line(server="<NOSRV>", state="SC", status=503, times="-1 -1 0"))
    assert (one.slot, one.failed) == (None, True)


@pytest.mark.parametrize(
    ("request_", "host", "method", "path"),
    [
        (
            "{a b#7Cc#7D#7B #22x#22:80|http} GET /%20%0A%C3%A4/%c3%a4'",
            'a b|c}{ "x":80',
            "GET",
            "/%20%0A%C3%A4/%c3%a4'",
        ),
        (r"{x#FF #09 y|https} GET /a\b#22c;d|e{f}'`", "x#FF #09 y", "GET", "/a\\b\"c;d|e{f}'`"),
        ("{|http} GET //evil.example/x", "", "GET", "//evil.example/x"),
        ("{x|http} OPTIONS ", "x", "OPTIONS", ""),
        ("{x|http} <BADREQ> <BADREQ>", "x", "", "<BADREQ>"),
        (f"{{{'h' * 128}|http}} GET /", "h" * 128 + CUT, "GET", "/"),
    ],
    ids=["braces and quotes", "bytes and a bar in the path", "no host", "no path", "no method", "long host"],
)
def test_what_a_client_sends_stays_in_its_field(request_: str, host: str, method: str, path: str) -> None:
    one = found(Line(request=request_))
    assert (one.host, one.method, one.path) == (host, method, path)


def test_a_path_that_was_cut_says_so() -> None:
    whole = str(Line(request="{x|http} GET /" + "y" * 600))
    assert found(whole).path == "/" + "y" * 600
    assert found(f"{whole:y<1024}").path.endswith("y" + CUT)


@given(st.text(), st.text())
def test_no_text_stops_the_reader_or_becomes_a_line_of_another_app(host: str, path: str) -> None:
    read(path)
    one = read(Line(request=f"{{{host}|http}} GET {path}"))
    assert one is None or (one.app, one.slot, one.status) == ("shop", SlotName.A, 200)
