from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.deploy.readiness.page_comparison import Asked, Pair, differs, wanted
from substitute.core.model.app_settings import Replay
from substitute.core.model.errors import DeploymentFailedError
from substitute.core.model.events import Difference, Output, PhaseStarted, Replayed
from substitute.core.model.slots import Phase, SlotName
from substitute.core.ports.access_log import CUT, Answered
from substitute.core.ports.prober import Answer
from tests.unit.fakes.prober import FakeProber

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint
    from tests.unit.fakes.shop import Shop

SKIPPED = ("/assets/",)


def answered(path: str = "/", **changes: object) -> Answered:
    one = Answered(
        app="shop",
        slot=SlotName.A,
        method="GET",
        path=path,
        host="shop.example.com",
        scheme="https",
        status=200,
        broken=False,
        seconds=0.01,
        client="1",
        at=1.0,
    )
    return one._replace(**changes)  # type: ignore[arg-type]


def paths(*log: Answered, last: int = 10) -> list[str]:
    return [one.path for one in wanted(log, Replay(last=last, skip=SKIPPED))]


# -- what is asked for ----------------------------------------------------------------------------


def test_the_most_frequent_pages_come_first_and_of_those_the_newest() -> None:
    log = [answered(path) for path in ("/old", "/search", "/new", "/search")]
    assert paths(*log) == ["/search", "/new", "/old"]
    assert paths(*log, last=2) == ["/search", "/new"]


@pytest.mark.parametrize(
    "one",
    [
        answered(method="POST"),
        answered(method="HEAD"),
        answered(status=404),
        answered(status=500),
        answered(status=101),
        answered(broken=True),
        answered("/assets/app-3f2a.js"),
        answered("/long" + CUT),
        answered(host="long" + CUT),
        answered("*"),
        answered(""),
        answered("/a b"),
    ],
)
def test_what_has_an_effect_or_no_good_answer_or_cannot_be_asked_for_is_not(one: Answered) -> None:
    assert paths(one, answered("/good")) == ["/good"]


# -- what differs ---------------------------------------------------------------------------------


def pair(live: tuple[int, float], candidate: tuple[int, float]) -> Pair:
    both = (
        Answer(good=bool(status), seen=str(status), status=status, seconds=s)
        for status, s in (live, candidate)
    )
    return Pair(Asked("/", "", ""), *both)


@pytest.mark.parametrize(
    ("live", "candidate", "matters"),
    [
        ((200, 0.1), (204, 0.1), False),
        ((200, 0.1), (302, 0.1), True),
        ((401, 0.1), (200, 0.1), True),
        ((200, 0.1), (500, 0.1), True),
        ((200, 0.1), (0, 10.0), True),
        ((500, 0.1), (200, 0.1), False),
        ((0, 0.1), (200, 0.1), False),
        ((200, 0.01), (200, 0.5), False),
        ((200, 0.01), (200, 0.6), True),
        ((200, 1.0), (200, 2.9), False),
        ((200, 1.0), (200, 3.1), True),
        ((200, 3.1), (200, 0.1), False),
    ],
)
def test_another_class_and_a_much_longer_time_differ_and_what_live_fails_does_not(
    live: tuple[int, float], candidate: tuple[int, float], *, matters: bool
) -> None:
    assert differs(pair(live, candidate)) is matters


# -- a deployment ---------------------------------------------------------------------------------


@pytest.fixture
def replayed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """v1 is live, and /search of any other version answers 500."""
    deploy(shop.host, shop.app, "v1")
    shop.change(replay=Replay(last=10))
    shop.world.answered += [answered("/search"), answered("/"), answered("/about")]
    answers(shop, monkeypatch, lambda port, path: 500 if (port, path) == (3002, "/search") else 200)
    shop.events.clear()
    shop.world.log.clear()
    return shop


def answers(shop: Shop, monkeypatch: pytest.MonkeyPatch, say: Callable[[int, str], int]) -> None:
    def fetch(self: FakeProber, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        shop.world.log.append(f"fetch {endpoint.port}{path} of {health.host} by {health.headers}")
        status = say(endpoint.port, path)
        return Answer(good=True, seen=str(status), status=status)

    monkeypatch.setattr(FakeProber, "fetch", fetch)


def shown(shop: Shop) -> list[str]:
    return [event.line for event in shop.events if isinstance(event, Output) and event.phase == Phase.REPLAY]


def event(shop: Shop) -> Replayed:
    return next(event for event in shop.events if isinstance(event, Replayed))


def test_what_differs_is_told_and_kept_and_the_deployment_goes_on(replayed: Shop) -> None:
    deploy(replayed.host, replayed.app, "v2")
    assert shown(replayed) == ["/search: 200 → 500"]
    assert event(replayed).differences == (Difference("/search", "shop.example.com", "200", "500"),)
    assert (event(replayed).compared, event(replayed).unanswered, event(replayed).left_out) == (3, 0, 0)
    record = replayed.host.journal.history("shop", 1)[0]
    assert (record.outcome, record.commit) == ("succeeded", "v2")
    assert "/search: 200 → 500" in record.reason


def test_both_are_asked_as_clients_were_before_the_candidate_gets_any_request(replayed: Shop) -> None:
    replayed.change(health=replace(replayed.app.health, headers={"x-forwarded-proto": "http", "X-Key": "1"}))
    deploy(replayed.host, replayed.app, "v2")
    log = replayed.world.log
    asked = [line for line in log if line.startswith("fetch")]
    assert len(asked) == 2 * 3 + 2, "each once of both, and what differs once more"
    before = "fetch 3001/search of shop.example.com by {'X-Forwarded-Proto': 'https'"
    assert asked[4].startswith(before) or any(line.startswith(before) for line in asked)
    assert "{'X-Forwarded-Host': 'shop.example.com', 'x-forwarded-proto': 'http', 'X-Key': '1'}" in asked[1]
    assert log.index(asked[-1]) < log.index("route 3001=50 3002=50")
    phases = [event.phase for event in replayed.events if isinstance(event, PhaseStarted)]
    assert phases[phases.index(Phase.READY) + 1] is Phase.REPLAY


def test_with_fail_the_deployment_fails_and_nobody_has_met_the_candidate(replayed: Shop) -> None:
    replayed.change(replay=Replay(last=10, fail=True))
    with pytest.raises(
        DeploymentFailedError, match=r"(?s)1 of 3 pages.*  /search: 200 → 500.*Slot a \(v1\) still"
    ):
        deploy(replayed.host, replayed.app, "v2")
    assert not [line for line in replayed.world.log if line.startswith("route") and "3002=0" not in line]
    assert event(replayed).differences
    assert "/search: 200 → 500" in replayed.host.journal.history("shop", 1)[0].reason


def test_what_differs_only_the_first_time_does_not_count(
    replayed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = iter([500])
    answers(replayed, monkeypatch, lambda port, path: next(first, 200) if port == 3002 else 200)
    deploy(replayed.host, replayed.app, "v2")
    assert event(replayed).differences == ()
    assert replayed.host.journal.history("shop", 1)[0].reason == ""


def test_one_that_dies_of_a_page_gets_no_request(replayed: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(port: int, path: str) -> int:
        if (port, path) == (3002, "/search"):
            replayed.world.crash("shop_b")
        return 200

    answers(replayed, monkeypatch, say)
    with pytest.raises(DeploymentFailedError, match="still serves"):
        deploy(replayed.host, replayed.app, "v2")
    assert not [line for line in replayed.world.log if line.startswith("route") and "3002=0" not in line]


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("nothing known", "Nothing is known yet"),
        ("another balancer", "does not tell"),
        ("silent", "The balancer does not say."),
    ],
)
def test_where_nothing_is_known_a_line_says_so(replayed: Shop, why: str, told: str) -> None:
    if why == "nothing known":
        replayed.world.answered.clear()
    elif why == "another balancer":
        replayed.world.remembers = False
    else:
        replayed.world.blind_until = replayed.world.clock.time + 0.5
    deploy(replayed.host, replayed.app, "v2")
    assert [told in line for line in shown(replayed)] == [True]
    assert not [event for event in replayed.events if isinstance(event, Replayed)]


def test_a_rollback_and_a_first_deployment_have_nothing_to_compare_with(replayed: Shop) -> None:
    deploy(replayed.host, replayed.app, "v2")
    replayed.events.clear()
    rollback(replayed.host, replayed.app)
    assert Phase.REPLAY not in {event.phase for event in replayed.events if isinstance(event, PhaseStarted)}


def test_a_page_for_which_there_is_no_time_is_counted(
    replayed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProber, "fetch_all", lambda _, pages, **__: [None] * len(pages))
    deploy(replayed.host, replayed.app, "v2")
    assert (event(replayed).compared, event(replayed).left_out) == (0, 3)
    assert "app.shop.replay.timeout" in event(replayed).message
