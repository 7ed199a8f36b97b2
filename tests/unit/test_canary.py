"""A canary: its steps, what the judge's verdict does, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.judge.client_counts import ClientCounts
from substitute.core.model.app_settings import Canary, CanaryStep
from substitute.core.model.errors import DeploymentFailedError
from substitute.core.model.events import Compared, Judged, Notice, PhaseStarted, Warned
from substitute.core.model.programs import Process
from substitute.core.model.slots import Phase, SlotName
from tests.unit.fakes.balancer import FakeAnswers
from tests.unit.test_replay import answered
from tests.unit.test_stop_first import WORKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.ports.access_log import Answered
    from tests.unit.fakes.shop import Shop

STEPS = (CanaryStep(5, 30.0), CanaryStep(25, 60.0))


@pytest.fixture
def canaried(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """v1 is live, and clients ask for as much as `Requests` says."""
    deploy(shop.host, shop.app, "v1")
    shop.events.clear()
    shop.world.log.clear()
    shop.change(canary=Canary(STEPS))
    ask(monkeypatch, shop, requests=100, failing=0)
    return shop


def ask(monkeypatch: pytest.MonkeyPatch, shop: Shop, *, requests: int, failing: int, chosen: int = 0) -> None:
    """Have so many come in each second to each version; so many of the candidate's fail, and all of the `chosen`."""

    def take(_: FakeAnswers, seconds: float) -> Sequence[Answered]:
        shop.world.clock.sleep(seconds)
        found = []
        for number in range(int(requests * seconds)):
            client = f"{shop.world.clock.time}-{number}"
            status = 500 if number < failing * seconds else 200
            found += [
                answered(slot=SlotName.A, client=client),
                answered(slot=SlotName.B, client=client + "b", status=status),
                answered(slot=None, client=None, status=503),
            ]
        found += [
            answered(slot=SlotName.B, client=f"{shop.world.clock.time}-own-{number}", status=500, chosen=True)
            for number in range(int(chosen * seconds))
        ]
        return found

    monkeypatch.setattr(FakeAnswers, "take", take)


def routes(shop: Shop) -> list[str]:
    return [line for line in shop.world.log if line.startswith("route")]


def outcome(shop: Shop) -> tuple[str | None, str]:
    record = shop.host.journal.history("shop", 1)[0]
    return record.outcome, str((record.verdict or {}).get("end", ""))


def test_clients_come_step_by_step_and_one_that_is_as_good_becomes_live(canaried: Shop) -> None:
    deploy(canaried.host, canaried.app, "v2")
    assert routes(canaried) == [
        "route 3001=95 3002=5",
        "route 3001=75 3002=25",
        "route 3001=0 3002=100",
    ]
    assert outcome(canaried) == ("succeeded", "no worse")
    told = [event for event in canaried.events if isinstance(event, Compared)]
    assert [(one.share, one.left) for one in told if not one.left] == [(5, 0.0), (25, 0.0)]
    assert told[-1].candidate.requests == told[-1].live.requests == 9000
    assert told[-1].candidate.per_second == 100
    (judged,) = [event for event in canaried.events if isinstance(event, Judged)]
    assert judged.verdict["candidate"]["requests"] == 9000
    phases = [event.phase for event in canaried.events if isinstance(event, PhaseStarted)]
    assert Phase.VERIFY not in phases
    assert "no worse" in canaried.host.journal.history("shop", 1)[0].reason


def test_one_that_is_worse_is_stopped_at_once(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, canaried, requests=100, failing=10)
    with pytest.raises(
        DeploymentFailedError, match=r"(?s)canary was stopped.*worse: .*Slot a \(v1\) still serves"
    ):
        deploy(canaried.host, canaried.app, "v2")
    assert routes(canaried) == ["route 3001=95 3002=5", "route 3001=100 3002=0"]
    assert outcome(canaried) == ("failed", "worse")


def test_what_robots_are_called_is_not_kept(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[bool] = []
    add = ClientCounts.add

    def noted(self: ClientCounts, **one: Any) -> None:
        counted.append(one["new"])
        add(self, **one)

    def take(_: FakeAnswers, seconds: float) -> Sequence[Answered]:
        canaried.world.clock.sleep(seconds)
        return [answered(slot=SlotName.B, new=new) for new in (True, False)]

    monkeypatch.setattr(ClientCounts, "add", noted)
    monkeypatch.setattr(FakeAnswers, "take", take)
    deploy(canaried.host, canaried.app, "v2")
    assert counted[:2] == [True, False]


def test_whoever_chose_the_candidate_is_not_compared(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, canaried, requests=100, failing=0, chosen=10)
    deploy(canaried.host, canaried.app, "v2")
    assert outcome(canaried) == ("succeeded", "no worse")
    (judged,) = [event for event in canaried.events if isinstance(event, Judged)]
    assert judged.verdict["candidate"]["requests"] == judged.verdict["live"]["requests"] == 9000


@pytest.mark.parametrize("needs_traffic", [False, True])
def test_where_too_little_was_seen_it_is_the_users_choice(
    canaried: Shop, monkeypatch: pytest.MonkeyPatch, *, needs_traffic: bool
) -> None:
    canaried.change(canary=Canary(STEPS, needs_traffic=needs_traffic))
    ask(monkeypatch, canaried, requests=1, failing=0)
    if needs_traffic:
        with pytest.raises(DeploymentFailedError, match="did not show that the new version is no worse"):
            deploy(canaried.host, canaried.app, "v2")
    else:
        deploy(canaried.host, canaried.app, "v2")
    assert outcome(canaried) == ("failed" if needs_traffic else "succeeded", "too little traffic to tell")


def test_where_clients_are_few_requests_are_sent_besides(canaried: Shop) -> None:
    canaried.change(
        canary=Canary(STEPS, synthetic=50.0),
        domains=("*.example.com", "shop.example.com"),
        health=replace(
            canaried.app.health, warm=("/", "/search"), headers={"X-Forwarded-Proto": "https"}, host="inside"
        ),
    )
    deploy(canaried.host, canaried.app, "v2")
    log = canaried.world.log
    begun = log.index(
        "load on 127.0.0.1:8080 for / /search with Host=shop.example.com X-Forwarded-Proto=https: 50/s"
    )
    assert (
        begun < log.index("route 3001=75 3002=25") < log.index("no load") < log.index("route 3001=0 3002=100")
    )


@pytest.mark.parametrize("own", [{}, {"Host": "own"}])
def test_where_no_domain_is_known_requests_are_for_the_host_of_the_health_check(
    canaried: Shop, own: dict[str, str]
) -> None:
    canaried.change(
        canary=Canary(STEPS, synthetic=50.0),
        domains=(),
        health=replace(canaried.app.health, warm=("/",), headers=own, host="inside"),
    )
    deploy(canaried.host, canaried.app, "v2")
    assert f"load on 127.0.0.1:8080 for / with Host={own.get('Host', 'inside')}: 50/s" in canaried.world.log


def test_requests_that_tell_nothing_are_told_of(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        canaried.host.load, "wrong", "none of 12 GETs of / was answered with 2xx, but with 301"
    )
    canaried.change(canary=Canary(STEPS, synthetic=50.0), health=replace(canaried.app.health, warm=("/",)))
    deploy(canaried.host, canaried.app, "v2")
    (said,) = [
        one.message for one in canaried.events if isinstance(one, Notice) and "synthetic" in one.message
    ]
    assert "none of 12 GETs of / was answered with 2xx, but with 301." in said


def test_without_a_judge_it_is_only_watched(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    canaried.change(canary=Canary(STEPS, judge=False))
    ask(monkeypatch, canaried, requests=100, failing=100)
    deploy(canaried.host, canaried.app, "v2")
    assert outcome(canaried) == ("succeeded", "")


def test_one_that_stops_answering_is_stopped(canaried: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    canaried.change(canary=Canary(STEPS, judge=False))
    sleep = type(canaried.world.clock).sleep

    def crash(clock: object, seconds: float) -> None:
        sleep(clock, seconds)  # type: ignore[arg-type]
        if "route 3001=95 3002=5" in canaried.world.log:
            canaried.world.crash("shop_b")

    monkeypatch.setattr(type(canaried.world.clock), "sleep", crash)
    with pytest.raises(DeploymentFailedError, match="still serves"):
        deploy(canaried.host, canaried.app, "v2")
    assert routes(canaried)[-1] == "route 3001=100 3002=0"


def ending(monkeypatch: pytest.MonkeyPatch, shop: Shop, *, each: float) -> None:
    """Have the candidate's worker end, and be started again, so often in seconds."""
    sleep, last = type(shop.world.clock).sleep, [0.0]

    def end(clock: object, seconds: float) -> None:
        sleep(clock, seconds)  # type: ignore[arg-type]
        if "shop_b_worker_1" in shop.world.running and shop.world.clock.time >= last[0] + each:
            last[0] = shop.world.clock.time
            shop.world.pids += 1
            shop.world.running["shop_b_worker_1"] = Process(shop.world.pids, shop.world.pids, "boot")

    monkeypatch.setattr(type(shop.world.clock), "sleep", end)


def warned_of_worker(shop: Shop) -> list[str]:
    return [one.message for one in shop.events if isinstance(one, Warned) and "orker" in one.message]


@pytest.mark.parametrize("judge", [False, True])
def test_a_worker_that_ends_again_and_again_is_named_once_and_stops_nothing(
    canaried: Shop, monkeypatch: pytest.MonkeyPatch, *, judge: bool
) -> None:
    canaried.change(canary=Canary(STEPS, judge=judge), processes={"worker": WORKER})
    ending(monkeypatch, canaried, each=4.0)
    deploy(canaried.host, canaried.app, "v2")
    told = "Worker 1 of slot b has ended 3 times within a minute. See `substitute logs b_worker_1`."
    assert warned_of_worker(canaried) == [told]
    assert told in canaried.host.journal.history("shop", 1)[0].reason


def test_a_worker_that_ends_after_so_many_jobs_is_as_it_should_be(
    canaried: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaried.change(canary=Canary((CanaryStep(5, 300.0),)), processes={"worker": WORKER})
    ending(monkeypatch, canaried, each=30.0)
    deploy(canaried.host, canaried.app, "v2")
    assert warned_of_worker(canaried) == []


def test_who_goes_back_does_not_wait(canaried: Shop) -> None:
    deploy(canaried.host, canaried.app, "v2")
    canaried.events.clear()
    rollback(canaried.host, canaried.app)
    phases = {event.phase for event in canaried.events if isinstance(event, PhaseStarted)}
    assert Phase.CANARY not in phases
