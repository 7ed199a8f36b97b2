"""The judge of a canary: its simulation, and what it says."""

from __future__ import annotations

import json
import math
import pickle  # of a size
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from substitute.core.judge.betting import Bet
from substitute.core.judge.block import Block, Histogram, Tally, bucket_of, upper_edge
from substitute.core.judge.client_counts import ClientCounts
from substitute.core.judge.failures import NotManyMoreFailures
from substitute.core.judge.judge import LEVEL, Judge
from substitute.core.judge.verdict import End, Sign
from tests.canaries import (
    Canary,
    Clients,
    bimodal,
    doubling,
    lognormal,
    outage,
    steady,
    whole_milliseconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCS = Path(__file__).parents[2] / "docs"
EQUAL = [
    Canary(rate=rate, share=share, failing=failing, latency=latency, drift=drift)
    for rate, share, failing, latency, drift in (
        (20, 0.05, 0, lognormal, steady),
        (20, 0.05, 0.001, bimodal, outage),
        (20, 0.05, 0.05, whole_milliseconds, steady),
        (20, 0.25, 0, bimodal, doubling),
        (20, 0.25, 0.001, lognormal, steady),
        (20, 0.25, 0.05, lognormal, doubling),
        (20, 0.5, 0, whole_milliseconds, outage),
        (20, 0.5, 0.001, lognormal, doubling),
        (20, 0.5, 0.05, bimodal, steady),
        (0.5, 0.05, 0.05, lognormal, steady),
        (0.5, 0.5, 0.05, lognormal, doubling),
        (2, 0.25, 0.01, bimodal, outage),
    )
]


def called_worse(canary: Canary | Clients, seed: int, seconds: float) -> bool:
    """Whether it is stopped at any of its looks."""
    judge = Judge()
    for block in canary.blocks(seed, seconds):
        judge.look(block)
        if judge.worse:
            return True
    return False


def called_worse_by_a_test_for_one_look(canary: Canary, seed: int, seconds: float) -> bool:
    """The same with the z-test of two rates, which is right for one look only."""
    seen = Block()
    for block in canary.blocks(seed, seconds):
        seen += block
        live, candidate = seen.live, seen.candidate
        rate = (live.failures + candidate.failures) / max(live.requests + candidate.requests, 1)
        if not live.requests or not candidate.requests or not 0 < rate < 1:
            continue
        error = math.sqrt(rate * (1 - rate) * (1 / live.requests + 1 / candidate.requests))
        if candidate.failures / candidate.requests - live.failures / live.requests > 2.326 * error:
            return True
    return False


def judged(canary: Canary, seed: int = 1, seconds: float = 600) -> Judge:
    judge = Judge()
    for block in canary.blocks(seed, seconds):
        judge.look(block)
        if judge.worse:
            break
    return judge


# The promise: at most one false alarm in a hundred canaries.


def test_of_equal_canaries_at_most_one_in_a_hundred_is_called_worse() -> None:
    """Some of each kind; test-long has 2,000 of each."""
    seeds = range(300)

    alarms = sum(called_worse(EQUAL[seed % len(EQUAL)], seed, seconds=60) for seed in seeds)

    assert alarms <= LEVEL * len(seeds)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("canary", EQUAL, ids=str)
def test_of_2000_equal_canaries_at_most_one_in_a_hundred_is_called_worse(canary: Canary) -> None:
    alarms = sum(called_worse(canary, seed, seconds=120) for seed in range(2000))

    assert alarms <= LEVEL * 2000


def test_the_simulation_finds_out_a_test_that_is_right_for_one_look_only() -> None:
    seeds = range(200)
    canary = Canary(failing=0.05)

    alarms = sum(called_worse_by_a_test_for_one_look(canary, seed, seconds=60) for seed in seeds)

    assert alarms > 3 * LEVEL * len(seeds)


def test_clients_that_repeat_broken_requests_and_stay_with_their_version_are_no_evidence() -> None:
    seeds = range(30)
    clients = Clients(number=100)

    assert sum(called_worse(clients, seed, seconds=60) for seed in seeds) <= LEVEL * len(seeds)
    assert sum(called_worse(replace(clients, named=False), seed, seconds=60) for seed in seeds) >= 5


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_of_2000_equal_canaries_with_few_and_different_clients_at_most_one_in_a_hundred_is_called_worse(
    share: float,
) -> None:
    alarms = sum(called_worse(Clients(number=60, share=share), seed, seconds=60) for seed in range(2000))

    assert alarms <= LEVEL * 2000


@given(
    requests=some.integers(1, 12),
    others=some.integers(1, 40),
    marks=some.integers(0, 20),
    before=some.lists(some.tuples(some.integers(0, 3), some.integers(0, 3)), max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_a_bet_is_fair_whatever_happened_before(
    requests: int, others: int, marks: int, before: list[tuple[int, int]]
) -> None:
    marks = min(marks, requests + others)

    def bet() -> Bet:
        made = Bet()
        for marked, others_marked in before:
            made.look(requests=5, marked=marked, others=9, others_marked=others_marked)
        return made

    mean = 0.0
    for marked in range(max(0, marks - others), min(marks, requests) + 1):
        one = bet()
        one.look(requests=requests, marked=marked, others=others, others_marked=marks - marked)
        ways = math.comb(requests, marked) * math.comb(others, marks - marked)
        mean += one.worth * ways / math.comb(requests + others, marks)

    assert mean == pytest.approx(bet().worth)


@given(live=some.floats(0, 0.99), excess=some.floats(0.01, 0.5), before=some.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_a_candidate_that_fails_for_1_percent_more_is_not_expected_to_pass(
    live: float, excess: float, before: int
) -> None:
    candidate = min(live + excess, 1.0)
    lives, candidates = 7, 3

    def test() -> NotManyMoreFailures:
        made = NotManyMoreFailures()
        made.look(block(live=(20, before), candidate=(10, before)))
        return made

    mean = 0.0
    for failing in range(lives + 1):
        for candidate_failing in range(candidates + 1):
            one = test()
            one.look(block(live=(lives, failing), candidate=(candidates, candidate_failing)))
            chance = math.comb(lives, failing) * live**failing * (1 - live) ** (lives - failing)
            chance *= math.comb(candidates, candidate_failing) * candidate**candidate_failing
            mean += one.evidence * chance * (1 - candidate) ** (candidates - candidate_failing)

    assert mean <= test().evidence * 1.0001


# What it finds.


def test_a_candidate_that_fails_for_1_percent_more_is_stopped() -> None:
    verdict = judged(Canary(rate=500, more_failures=0.01)).verdict()

    assert (verdict.end, verdict.sign) == (End.WORSE, Sign.FAILURES)
    assert verdict.evidence >= 1 / LEVEL


@pytest.mark.parametrize("latency", [lognormal, bimodal])
def test_a_candidate_that_is_20_percent_slower_is_stopped(latency: Callable[[float], float]) -> None:
    verdict = judged(Canary(rate=500, latency=latency, slower=1.2)).verdict()

    assert verdict.end is End.WORSE
    assert verdict.sign in {Sign.MEDIAN, Sign.TAIL}


def test_a_candidate_that_is_slower_in_its_tail_only_is_stopped_for_its_p95() -> None:
    judge = Judge()
    for _ in range(30):
        judge.look(
            Block(timed(*[0.1] * 90, *[0.2] * 10), timed(*[0.1] * 90, *[0.5] * 10)),
        )
        if judge.worse:
            break

    assert judge.verdict().sign is Sign.TAIL


def test_a_candidate_that_becomes_worse_after_minutes_is_stopped_soon_after() -> None:
    canary = Canary(rate=100, failing=0.01, more_failures=0.2, from_second=300)
    judge = Judge()
    looks = 0
    for each in canary.blocks(seed=1, seconds=600):
        judge.look(each)
        looks += 1
        if judge.worse:
            break

    assert judge.worse
    assert 300 < looks * 2 < 320


def test_10_percent_slower_is_tolerated() -> None:
    assert not judged(Canary(rate=500, slower=1.1), seconds=120).worse


def test_one_look_in_which_everything_fails_is_enough() -> None:
    judge = Judge()
    judge.look(block(live=(1_000_000, 0), candidate=(100_000, 100_000)))

    assert judge.worse
    assert judge.verdict().sentence == (
        "worse: 100,000 of 100,000 requests failed (live: 0 of 1,000,000); "
        "as good a version does so less than once in a billion canaries"
    )


# The three ends.


def test_a_good_candidate_with_enough_traffic_is_no_worse() -> None:
    verdict = judged(Canary(rate=500), seconds=60).verdict()

    assert verdict.end is End.NO_WORSE
    assert verdict.not_shown == ()
    assert verdict.sentence.startswith("no worse: ")
    assert verdict.sentence.endswith(
        "; with 99 % confidence less than 1 % more of its requests fail, and it is less than 20 % slower"
    )


@pytest.mark.parametrize(
    "worse", [Canary(rate=100, more_failures=0.01), Canary(rate=100, slower=1.2)], ids=str
)
def test_what_no_worse_excludes_is_seldom_called_so(worse: Canary) -> None:
    ends = [judged(worse, seed, seconds=60).verdict().end for seed in range(30)]

    assert End.NO_WORSE not in ends


@pytest.mark.parametrize("seconds", [0.0, 0.003, 0.1])
def test_an_app_whose_answers_all_take_the_same_time_is_no_worse_soon(seconds: float) -> None:
    judge = Judge()
    for _ in range(10):
        judge.look(Block(timed(*[seconds] * 300), timed(*[seconds] * 100)))

    assert judge.verdict().end is End.NO_WORSE


def test_nothing_at_all_is_too_little() -> None:
    verdict = Judge().verdict()

    assert verdict.end is End.TOO_LITTLE
    assert verdict.sentence == (
        "too little traffic to tell: 0 of 0 requests failed (live: 0 of 0); not shown is that less than 1 % more of "
        "its requests fail and that it is less than 20 % slower"
    )


def test_too_little_traffic_says_how_much_it_takes() -> None:
    judge = Judge()
    for _ in range(5):
        judge.look(Block(timed(*[0.1] * 400), timed(*[0.1] * 40)))
    verdict = judge.verdict()

    assert verdict.end is End.TOO_LITTLE
    assert verdict.wanted is not None
    assert 400 < verdict.wanted < 600
    assert f"takes about {verdict.wanted} requests of the candidate" in verdict.sentence


def test_failures_of_few_clients_are_told_as_such() -> None:
    judge = Judge()
    judge.look(
        Block(Tally(3000, 12, 1000, 9), Tally(204, 31, 90, 17)),
    )

    assert judge.verdict().sentence == (
        "worse: 31 of 204 requests failed for 17 clients (live: 12 of 3,000 for 9 clients); "
        f"{judge.verdict().sentence.split('; ')[1]}"
    )


def test_the_sentence_of_the_page_is_one_that_the_judge_says() -> None:
    judge = judged(Canary(rate=500, share=0.05, more_failures=0.01), seed=19)

    assert f"    {judge.verdict().sentence}\n" in (DOCS / "canary.md").read_text()


# What is counted.


def test_a_client_counts_with_its_first_failure_only() -> None:
    gathering = ClientCounts()
    for _ in range(3):
        gathering.add(candidate=True, client="a", failed=True, seconds=0.1)
    gathering.add(candidate=True, client="b", failed=False, seconds=0.1)
    first = gathering.block().candidate
    gathering.add(candidate=True, client="a", failed=True, seconds=0.1)
    gathering.add(candidate=True, client="b", failed=True, seconds=0.1)
    second = gathering.block().candidate

    assert (first.requests, first.failures, first.clients, first.failing) == (4, 3, 2, 1)
    assert (second.requests, second.failures, second.clients, second.failing) == (2, 2, 1, 1)


def test_a_client_is_timed_at_its_first_second_and_fourth_look() -> None:
    gathering = ClientCounts()
    timed_at = []
    for _ in range(9):
        for _ in range(3):
            gathering.add(candidate=False, client="a", failed=False, seconds=0.1)
        timed_at.append(gathering.block().live.latency.total)

    assert timed_at == [1, 1, 0, 1, 0, 0, 0, 1, 0]


def test_requests_without_a_client_count_each() -> None:
    gathering = ClientCounts()
    for failed in (True, True, False):
        gathering.add(candidate=True, client=None, failed=failed, seconds=0.1)

    assert gathering.block().candidate == Tally.of_requests(3, 2, Histogram.of([0.1]))


def test_a_client_whose_first_request_fails_is_one_failure_when_it_comes_back() -> None:
    gathering = ClientCounts()
    gathering.add(candidate=True, client="a", failed=True, seconds=0.1, new=True)
    first = gathering.block().candidate
    gathering.add(candidate=True, client="a", failed=True, seconds=0.1)
    second = gathering.block().candidate

    assert (first.clients, first.failing, second.clients, second.failing) == (1, 1, 0, 0)


def test_of_robots_without_cookies_nothing_is_kept() -> None:
    gathering = ClientCounts()
    before = len(pickle.dumps(gathering))
    for number in range(1000):
        gathering.add(candidate=True, client=f"robot {number}", failed=False, seconds=0.1, new=True)
    seen = gathering.block().candidate

    assert seen == Tally.of_requests(1000, 0, Histogram.of([0.1] * 1000))
    assert len(pickle.dumps(gathering)) == before


def test_blocks_come_back_from_json() -> None:
    for each in Canary(failing=0.1).blocks(seed=3, seconds=20):
        assert Block.read(json.loads(json.dumps(each.plain()))) == each


def test_a_judge_that_takes_the_same_blocks_again_says_the_same() -> None:
    blocks = list(Canary(failing=0.1).blocks(seed=3, seconds=20))

    assert replayed(blocks) == replayed(Block.read(each.plain()) for each in blocks)


@given(some.floats(0.001, 3600))
def test_a_duration_is_in_a_bucket_at_most_2_5_percent_wide(seconds: float) -> None:
    bucket = bucket_of(seconds)

    assert upper_edge(bucket - 1) * 0.999999 <= seconds <= upper_edge(bucket) * 1.000001


def test_quantiles_are_those_of_what_was_put_in() -> None:
    histogram = Histogram.of(each / 1000 for each in range(1, 1001))

    assert histogram.at(0.5) == pytest.approx(0.5, rel=0.03)
    assert histogram.at(0.95) == pytest.approx(0.95, rel=0.03)
    assert histogram.above(bucket_of(0.5)) == pytest.approx(500, abs=15)
    assert Histogram().at(0.5) is None


def block(*, live: tuple[int, int], candidate: tuple[int, int]) -> Block:
    """Requests and failures of each."""
    return Block(
        Tally.of_requests(*live, latency=Histogram()), Tally.of_requests(*candidate, latency=Histogram())
    )


def timed(*seconds: float) -> Tally:
    return Tally.of_requests(len(seconds), 0, Histogram.of(seconds))


def replayed(blocks: Iterator[Block] | list[Block]) -> str:
    judge = Judge()
    for each in blocks:
        judge.look(each)
    return repr(judge.verdict())
