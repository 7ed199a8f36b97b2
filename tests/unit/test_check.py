from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.check.check import check
from substitute.core.check.observation import Exchange, Observation
from substitute.core.check.verdict import judge
from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.model.errors import DeploymentFailedError, NotReadyError
from substitute.core.model.events import Warned
from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint
from substitute.core.ports.observer import Heard, Hold, Member, Progress, Request
from tests.unit.fakes.observer import FakeConversation
from tests.unit.fakes.world import World

if TYPE_CHECKING:
    from substitute.core.model.findings import Finding, ShutdownReport
    from tests.unit.fakes.shop import Shop

A, B = Endpoint("127.0.0.1", 3001), Endpoint("127.0.0.1", 3002)
MAIN = Member(Process(1, 1, "boot"), "node", listens=True, platform="node")
CHILD = Member(Process(2, 2, "boot"), "node", listens=True, platform="node")
WRAPPER = Member(Process(1, 1, "boot"), "sh", listens=False)


# -- the story ------------------------------------------------------------------------------------


def test_a_check_changes_nothing_of_what_is_live(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shares, record = dict(shop.world.shares), shop.host.journal.app("shop")
    shop.world.log.clear()
    seen = check(shop.host, shop.app, "v2")
    assert seen.report.passed
    assert (seen.slot, seen.commit, seen.live) == ("b", "v2", "a")
    assert not [entry for entry in shop.world.log if entry.startswith("route")]
    assert shop.world.shares == shares
    after = shop.host.journal.app("shop")
    assert (after.live, after.next_slot) == (record.live, record.next_slot)
    assert set(shop.world.running) == {"shop_a"}
    assert not after.slots[seen.slot].started


@pytest.mark.parametrize(
    ("lateness", "kept", "warned"),
    [
        ([0.04, 0.041], True, True),
        ([0.04, 0.0], True, False),
        ([0.0, 0.04], True, False),
        ([0.04, 0.04], False, False),
    ],
)
def test_late_answers_on_kept_connections_are_told_if_seen_twice(
    shop: Shop,
    lateness: list[float],
    kept: bool,  # noqa: FBT001
    warned: bool,  # noqa: FBT001
) -> None:
    shop.world.lateness = lateness
    assert check(shop.host, shop.app, "v1", kept=kept).report.passed
    told = [event.message for event in shop.events if isinstance(event, Warned)]
    assert any("41 ms late" in message for message in told) is warned


def test_a_check_is_history_but_no_version_to_go_back_to(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    check(shop.host, shop.app, "v3")
    latest = shop.host.journal.history("shop", 1)[0]
    assert (latest.operation, latest.outcome, latest.commit) == ("check", "passed", "v3")
    assert shop.host.journal.unfinished("shop") == []
    shop.world.log.clear()
    rollback(shop.host, shop.app)
    assert "update shop_a v1" in shop.world.log, "the check overwrote the slot"
    live = shop.host.journal.app("shop").live_slot
    assert live
    assert live.commit == "v1"


def test_a_check_of_what_the_slot_holds_leaves_it_to_a_rollback_as_it_stands(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    check(shop.host, shop.app, "v1")
    shop.world.log.clear()
    rollback(shop.host, shop.app)
    assert not [entry for entry in shop.world.log if entry.startswith("update")]


def test_the_environment_of_a_check_is_not_what_the_live_version_comes_up_with(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    object.__setattr__(shop.host, "caller", {"PATH": "/elsewhere"})
    check(shop.host, shop.app, "v2")
    assert shop.host.journal.environment("shop") == {"PATH": "/bin"}


def test_what_does_not_stop_is_judged_and_killed(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.stubborn.add("shop_b")
    seen = check(shop.host, shop.app, "v2")
    assert [one.name for one in seen.report.findings if one.passed is False] == ["idle", "exit"]
    assert set(shop.world.running) == {"shop_a"}
    assert shop.host.journal.history("shop", 1)[0].outcome == "failed"


def test_a_build_that_fails_leaves_the_live_version_serving(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.build_status = 3
    with pytest.raises(DeploymentFailedError, match=r"Slot a \(v1\) still serves."):
        check(shop.host, shop.app, "v2")
    assert set(shop.world.running) == {"shop_a"}


def test_where_nothing_was_live_a_failure_is_the_apps_and_not_an_outage(shop: Shop) -> None:
    shop.world.boots = lambda _commit: False
    with pytest.raises(DeploymentFailedError, match="Nothing served shop before, and nothing does"):
        check(shop.host, shop.app, "v1")
    assert shop.world.running == {}
    assert shop.host.journal.app("shop").live is None


def test_an_app_that_was_stopped_by_hand_stays_so_and_that_is_no_outage(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.clock.at.clear()
    shop.host.journal.stop_by_hand("shop", stopped=True)
    shop.world.shares.clear()
    assert check(shop.host, shop.app, "v2").live is None
    shop.world.build_status = 3
    with pytest.raises(DeploymentFailedError, match="Nothing served shop before"):
        check(shop.host, shop.app, "v2")
    assert shop.world.running == {}


def test_an_instance_that_dies_before_the_signal_is_not_judged(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.clock.at.append((shop.world.clock.time + 0.5, lambda: shop.world.crash("shop_b")))
    with pytest.raises(DeploymentFailedError) as caught:
        check(shop.host, shop.app, "v2")
    assert isinstance(caught.value.__cause__, NotReadyError)
    assert "exited before it was told to" in str(caught.value)


# -- the judgement --------------------------------------------------------------------------------


def exchange(
    method: str = "GET",
    *,
    before: Heard | None = None,
    heard: Heard | None = None,
    at: float | None = None,
    path: str = "/up",
    hold: Hold = Hold.BODY,
    handed_over: int | None = None,
    accepted: bool = True,
) -> Exchange:
    return Exchange(
        Request(method, path, None, hold),
        FakeConversation(World(), "shop_b", answered=False),
        before or Heard(),
        Progress(accepted, handed_over),
        heard or before or Heard(),
        at,
    )


def good(**changes: object) -> Observation:
    values: dict[str, object] = {
        "main": MAIN,
        "members": {MAIN.process: MAIN},
        "limit": 30.0,
        "app": "shop",
        "idle": exchange(before=Heard(200), heard=Heard(200, "closed"), at=0.01),
        "requests": (exchange(heard=Heard(200), at=1.0),),
        "refused": 0.01,
        "exited": 1.1,
        "lasted": 1.1,
        **changes,
    }
    return Observation(**values)  # type: ignore[arg-type]


def wrong(report: ShutdownReport) -> list[str]:
    return [one.name for one in report.findings if one.passed is False]


def test_good_manners_need_no_cure() -> None:
    report = judge(good())
    assert report.passed
    assert report.platform == "node"
    assert [one.cure for one in report.findings] == [""] * 6


@pytest.mark.parametrize(
    ("changes", "name", "seen", "cure"),
    [
        ({"refused": None, "exited": None, "lasted": 30.0}, "refuse", "still accepted 30 s", "server.close("),
        ({"refused": 4.2}, "refuse", "refused only 4.2 s", "server.close("),
        ({"requests": (exchange(heard=Heard(None, "reset"), at=0.02),)}, "finish", "reset without", "server.close("),
        ({"requests": (exchange(),), "lasted": 30.0}, "finish", "not answered within 30 s", "before databases"),
        ({"requests": (exchange(heard=Heard(503), at=3.0),)}, "finish", "answered 503", "before databases"),
        ({"idle": exchange(before=Heard(200))}, "idle", "still open", "closeIdleConnections"),
        ({"exited": None, "lasted": 30.0}, "exit", "still ran 30 s", "setTimeout"),
        ({"exited": 1.0, "survivors": (CHILD,), "lasted": 2.0}, "children", "(pid 2) still ran 1 s", "every child"),
    ],
)  # fmt: skip
def test_each_fault_is_found_with_what_was_seen_and_its_cure(
    changes: dict[str, object], name: str, seen: str, cure: str
) -> None:
    finding = next(one for one in judge(good(**changes)).findings if one.name == name)
    assert finding.passed is False
    assert seen in finding.seen
    assert cure in finding.cure


def test_a_wrapper_that_keeps_the_signal_is_named_and_is_the_one_thing_to_mend() -> None:
    members = {WRAPPER.process: WRAPPER, CHILD.process: CHILD}
    report = judge(good(main=WRAPPER, members=members, survivors=(CHILD,), refused=None, lasted=2.2))
    assert wrong(report) == ["signal", "refuse", "children"]
    signal, *others = report.findings
    assert "sh (pid 1) got it; node (pid 2) listens" in signal.seen
    assert "`exec`" in signal.cure
    assert "node" not in signal.cure, "what listens may only be called so"
    assert {one.cure for one in others} == {"", "bring the signal to it first, as above"}
    assert others[1].passed is None, "an answer of an app that was told nothing shows nothing"


def test_a_wrapper_that_passes_the_signal_on_is_no_fault() -> None:
    report = judge(good(main=WRAPPER, members={WRAPPER.process: WRAPPER, CHILD.process: CHILD}))
    assert report.passed
    assert "passed it on to node (pid 2)" in report.findings[0].seen


def finish(**changes: object) -> Finding:
    return next(one for one in judge(good(**changes)).findings if one.name == "finish")


def test_an_answer_that_came_at_once_proves_nothing_and_what_proves_it_is_named() -> None:
    report = judge(good(requests=(exchange("POST", before=Heard(404)),)))
    found = report.findings[2]
    assert found.passed is None
    assert "answered at once (404)" in found.seen
    assert "exited 1.1 s after SIGTERM" in found.seen
    assert "`substitute check --slow /PATH`" in found.cure
    assert "[app.shop.check]" in found.cure
    assert (report.passed, report.proven, report.result) == (True, False, "not proven")
    assert report.reason.startswith("finish: not proven: POST /up")


def test_an_app_whose_process_has_no_handler_is_known_to_cut_requests_without_a_request() -> None:
    main = replace(MAIN, handles_signal=False)
    at_once = (exchange("POST", before=Heard(200)),)
    seen = {"main": main, "members": {main.process: main}, "requests": at_once}
    found = finish(**seen)
    assert found.passed is False
    assert "no handler for SIGTERM" in found.seen
    assert finish(**{**seen, "exited": None}).passed is None, "it ignores the signal, which `exit` says"
    both = {main.process: main, CHILD.process: CHILD}
    assert finish(**{**seen, "members": both}).passed is None, "another one answers too"


@pytest.mark.parametrize(
    ("asked", "passed", "said"),
    [
        (exchange(path="/slow", hold=Hold.NOTHING, heard=Heard(200), at=2.0), True, "GET /slow, under way"),
        (exchange(path="/slow", hold=Hold.NOTHING, heard=Heard(200), at=0.01), None, "takes longer"),
        (exchange(path="/slow", hold=Hold.NOTHING, before=Heard(200)), None, "takes longer"),
        (exchange(path="/slow", hold=Hold.NOTHING, before=Heard(404)), None, "/slow is answered 404"),
        (exchange(path="/slow", hold=Hold.NOTHING, heard=Heard(None, "closed"), at=0.01), False, "was closed"),
        (exchange(path="/slow", hold=Hold.NOTHING, heard=Heard(500), at=2.0), False, "answered 500"),
        (exchange(hold=Hold.READING, heard=Heard(200, "", 90_000), at=1.0, handed_over=60_000), True, "read only"),
        (exchange(hold=Hold.READING, heard=Heard(200, "", 60_000), at=1.0, handed_over=60_000), None, "is larger"),
        (exchange(hold=Hold.READING, heard=Heard(200, "", 60_000), at=1.0), None, "is larger"),
        (exchange(hold=Hold.READING, heard=Heard(None, "reset"), at=1.0, handed_over=9), False, "was reset"),
        (exchange("POST", before=Heard(200)), None, "reads the body of a POST"),
        (exchange(path="/slow", hold=Hold.NOTHING, heard=Heard(None, "reset"), at=1.0, accepted=False), None, "queue"),
        (exchange("POST", before=Heard(None, "refused")), None, "refused before SIGTERM"),
    ],
)  # fmt: skip
def test_a_request_that_was_named_counts_as_proof_only_where_it_was_under_way(
    asked: Exchange, *, passed: bool | None, said: str
) -> None:
    found = finish(requests=(asked,), named=True)
    assert found.passed is passed
    assert said in f"{found.seen} {found.cure}"
    assert bool(found.cure) is (passed is not True)


def test_of_several_requests_the_worst_is_told() -> None:
    fine = exchange(path="/fine", heard=Heard(200), at=1.0)
    easy = exchange(path="/easy", before=Heard(200))
    cut = exchange(path="/cut", heard=Heard(None, "closed"), at=0.01)
    assert finish(requests=(fine, easy, cut), named=True).passed is False
    assert "/easy" in finish(requests=(fine, easy), named=True).seen
    assert finish(requests=(fine, fine), named=True).passed


def test_without_http_the_two_that_need_it_are_not_proven() -> None:
    findings = judge(good(idle=None, requests=())).findings
    assert [one.passed for one in findings] == [True, True, None, None, True, True]


def test_an_app_that_keeps_no_connection_open_has_none_to_close() -> None:
    assert judge(good(idle=exchange(before=Heard(200, "closed")))).findings[3].passed
