"""Percentiles, the schedule, phases, and what a result says of itself."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.core.model.errors import DeploymentFailedError, InterruptedByUserError, UsageError
from substitute.core.model.events import PhaseFinished, PhaseStarted, Stepped, Succeeded
from substitute.core.model.records import DrillRecord
from substitute.core.model.slots import Phase, SlotName
from substitute.core.state.journal import Journal
from substitute.drill.client.recorder import Failure, Recorder
from substitute.drill.client.schedule import Schedule
from substitute.drill.client.target import front_door, host_header
from substitute.drill.load import LaneName, Load
from substitute.drill.report.page import page
from substitute.drill.report.scale import decades, ticks
from substitute.drill.report.summary import lines
from substitute.drill.result.course import Course
from substitute.drill.result.latency import percentile, summarize
from substitute.drill.result.recording import Recording
from substitute.drill.result.result import Result
from substitute.drill.result.timeline import Timeline

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.errors import SubstituteError

START = 1000.0
DRAINED = Succeeded("shop", SlotName.B, "c" * 40, None, {}, drained=None)  # type: ignore[arg-type]


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def drilled(
    *,
    failures: list[Failure] | None = None,
    error: SubstituteError | None = None,
    operation: str | None = "deploy",
    lost: str = "",
    version: str = "2",
    drained: float = 7.0,
) -> Result:
    """A drill of ten seconds: the operation from 3 to 7 (`drained`), admit at 5, a request every 10 ms."""
    clock = Clock()
    timeline = Timeline(clock)
    if operation:
        for name, at in (
            ("", 3.0),
            (Phase.BUILD, 4.0),
            (Phase.ADMIT, 5.0),
            (Phase.DRAIN, 6.0),
            (None, drained),
        ):
            clock.now = START + at
            if name == "":
                timeline.begin()
            elif name is None:
                timeline.finish()
            else:
                timeline(PhaseStarted(Phase(name), "shop", SlotName.B, 4))
        if not error:
            timeline(DRAINED)
    clock.now = START + drained + 3
    timeline.close()
    recording = Recording()
    batch: dict[str, Any] = {"lanes": [], "intended": [], "latency": [], "version": []}
    for number in range(1000):
        batch["lanes"].append("keep-alive")
        batch["intended"].append(START + number / 100)
        batch["latency"].append(0.5 if 300 <= number < 700 else 0.001)
        batch["version"].append("1" if number < 500 else version)
    batch |= {"failures": [vars_of(one) for one in failures or []], "counts": {}, "lag": 0.0}
    recording.add({**batch, "began": START, "now": START + 10})
    load = Load("http://127.0.0.1:8080")
    return Result("shop", operation, 1e9, load, Course(error, lost), timeline, recording)


def vars_of(failure: Failure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in failure.__dataclass_fields__}


def failure(at: float, *, detail: str = "reset by peer", kind: str = "reset", version: str = "1") -> Failure:
    return Failure("keep-alive", kind, detail, START + at - 0.1, START + at, version)


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "percent", "found"),
    [
        (1, 50, 1),
        (2, 50, 1),
        (100, 50, 50),
        (100, 99, 99),
        (100, 99.9, 100),
        (1000, 99.9, 999),
        (1000, 95, 950),
    ],
)
def test_a_percentile_is_the_nearest_rank(count: int, percent: float, found: int) -> None:
    assert percentile(range(1, count + 1), percent) == found


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([50.0, 95.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: float
) -> None:
    found = percentile(sorted(values), percent)

    def share(limit: float) -> float:
        return sum(value <= limit for value in values) / len(values) * 100

    assert share(found) >= percent - 1e-9
    assert all(share(value) < percent for value in values if value < found)


def test_no_answer_has_no_latency() -> None:
    assert summarize([]).document() == dict.fromkeys(["p50", "p95", "p99", "p99.9", "max"]) | {"requests": 0}


def test_a_schedule_gives_every_moment_once_without_drift_however_late_it_is_asked() -> None:
    schedule = Schedule(START, 300.0)
    first = schedule.due(START + 0.5)
    second = schedule.due(START + 10)
    moments = first + second
    assert len(moments) == 3001
    assert all(math.isclose(moment, START + number / 300) for number, moment in enumerate(moments))
    assert schedule.due(START + 10) == []


@given(st.floats(0.001, 1e6), st.integers(2, 20))
def test_an_axis_has_a_few_round_values_inside_of_it(length: float, most: int) -> None:
    found = ticks(0, length, most)
    assert 1 <= len(found) <= most + 1
    assert found[-1] <= length * 1.0001


@given(st.floats(1e-5, 1), st.floats(1.5, 1e5))
def test_a_logarithmic_axis_too(low: float, factor: float) -> None:
    assert all(low * 0.99 <= value <= low * factor * 1.01 for value in decades(low, low * factor))


def test_versions_without_end_are_told_as_others() -> None:
    recorder = Recorder()
    for number in range(300):
        recorder.answered(LaneName.NEW, 0.0, 0.1, str(number))
    assert len(set(recorder.take()["version"])) == 101


# -- phases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "phase", "part"),
    [
        (-1, "before", "before"),
        (2.9, "before", "before"),
        (3.1, "begin", "during"),
        (4.5, "build", "during"),
        (5.5, "admit", "during"),
        (6.5, "drain", "during"),
        (7.1, "after", "after"),
        (99, "after", "after"),
    ],
)
def test_each_moment_has_its_phase(at: float, phase: str, part: str) -> None:
    timeline = drilled().timeline
    assert (timeline.phase_at(START + at), timeline.part_at(START + at)) == (phase, part)


def test_what_comes_between_two_phases_belongs_to_the_first() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    timeline.begin()
    timeline(PhaseStarted(Phase.BUILD, "shop", SlotName.B, 4))
    clock.now += 1
    timeline(PhaseFinished(Phase.BUILD, "shop", SlotName.B, 4, 1.0))
    assert timeline.phase_at(clock.now + 1) == "build"


def with_canary() -> Timeline:
    """A canary from 4 on, of 5 % until 6 and of 25 % until 9; the drain is over at 10."""
    clock = Clock()
    timeline = Timeline(clock)
    timeline.begin()
    for at, event in (
        (4.0, PhaseStarted(Phase.CANARY, "shop", SlotName.B, 4)),
        (4.0, Stepped("shop", SlotName.B, 5, 2.0)),
        (6.0, Stepped("shop", SlotName.B, 25, 3.0)),
        (9.0, PhaseFinished(Phase.CANARY, "shop", SlotName.B, 4, 5.0)),
        (9.5, PhaseStarted(Phase.DRAIN, "shop", SlotName.B, 4)),
    ):
        clock.now = START + at
        timeline(event)
    clock.now = START + 10
    timeline.finish()
    clock.now = START + 12
    timeline.close()
    return timeline


@pytest.mark.parametrize(
    ("at", "phase"),
    [(3.9, "begin"), (4.1, "5 %"), (5.9, "5 %"), (6.1, "25 %"), (9.4, "25 %"), (9.6, "drain")],
)
def test_each_moment_of_a_canary_has_its_step(at: float, phase: str) -> None:
    timeline = with_canary()
    assert (timeline.phase_at(START + at), timeline.part_at(START + at)) == (phase, "during")


def test_failures_phases_and_the_page_name_the_steps_of_a_canary() -> None:
    result = replace(drilled(failures=[failure(6.5)]), timeline=with_canary())
    document = result.document()
    assert [one["phase"] for one in document["failures"]] == ["25 %"]
    lasted = {one["name"]: one["end"] - one["start"] for one in document["phases"]}
    assert (lasted["5 %"], lasted["25 %"]) == (2.0, 3.5)
    assert all(label in page(result) for label in ("5 % 2.0 s", "25 % 3.5 s"))


# -- the result -----------------------------------------------------------------------------------


def test_latencies_are_told_before_during_and_after() -> None:
    latency = drilled().document()["latency"]
    assert {part: row["p50"] for part, row in latency.items()} == {
        "before": 0.001, "during": 0.5, "after": 0.001, "all": 0.001,
    }  # fmt: skip
    assert [row["requests"] for row in latency.values()] == [300, 400, 300, 1000]


def test_a_failure_is_told_with_its_phase_and_the_version_before() -> None:
    document = drilled(failures=[failure(5.2)]).document()
    assert document["failures"] == [
        {
            "at": 5.2, "sent": 5.1, "phase": "admit", "kind": "reset", "detail": "reset by peer",
            "lane": "keep-alive", "version": "1",
        }
    ]  # fmt: skip
    assert (document["requests"], document["failed"]) == (1001, 1)
    assert document["latency"]["during"]["failed"] == 1


@pytest.mark.parametrize(
    ("more", "status", "outcome"),
    [
        ({}, 0, "succeeded"),
        ({"failures": [failure(5)]}, 1, "succeeded"),
        ({"error": InterruptedByUserError("Interrupted by Ctrl-C.")}, 130, "interrupted"),
        ({"error": UsageError("No such commit."), "failures": [failure(5)]}, 2, "failed"),
        ({"error": DeploymentFailedError("It broke.")}, 1, "failed"),
        ({"lost": "killed"}, 1, "succeeded"),
        ({"operation": None}, 0, None),
    ],
)
def test_the_exit_status_is_the_operations_or_says_whether_requests_failed(
    more: dict[str, Any], status: int, outcome: str | None
) -> None:
    result = drilled(**more)
    assert (result.exit_status, result.outcome) == (status, outcome)


def test_the_text_ends_with_the_verdict() -> None:
    text = list(lines(drilled(failures=[failure(5, detail="\x1b[2J")]).document(), lambda line, _style: line))
    assert text[-1] == "1 of 1,001 requests failed (deploy succeeded)"
    assert "failed in admit: 1 reset" in text
    assert not any("\x1b" in line for line in text)


# -- the page -------------------------------------------------------------------------------------


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    text = page(drilled(failures=[failure(5)]))
    assert not re.search(r"<(script|link|img|iframe|object)|@import|url\(|\b(src|href)\s*=", text)
    assert text.count("<svg") == 2
    assert text.startswith("<!doctype html>")


def test_the_page_escapes_whatever_comes_from_elsewhere() -> None:
    nasty = "</style><script>alert('1')</script>\"'&"
    result = drilled(
        failures=[failure(5, detail=nasty, version=nasty, kind=nasty)],
        error=DeploymentFailedError(nasty),
        operation=f"deploy {nasty}",
        version=nasty,
    )
    text = page(result)
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert "&lt;script&gt;alert" in text


def test_the_page_lists_every_failure_and_marks_the_phases() -> None:
    text = page(
        drilled(failures=[failure(5 + number / 1000, detail=f"seen {number}") for number in range(300)])
    )
    assert all(f">seen {number}<" in text for number in range(300))
    assert all(phase in text for phase in ("build 1.0 s", "admit 1.0 s", "drain 1.0 s"))
    assert "300 of 1,300 requests failed" in text


def test_the_switch_is_shown_closer_however_long_the_drain_is() -> None:
    text = page(drilled(drained=67.0))
    close = text.partition("The switch, closer")[2].partition("</svg>")[0]
    assert "admit 1.0 s" in close
    assert "drain 1 m 01 s" in close
    shown = [float(label) for label in re.findall(r'"middle" class="tick">([0-9.]+) s<', close)]
    assert min(shown) > 4
    assert max(shown) < 7


@pytest.mark.parametrize("drained", [7.0, 300.0])
def test_no_label_reaches_beyond_the_picture(drained: float) -> None:
    text = page(drilled(drained=drained))
    labels = re.findall(
        r'<text x="([0-9.]+)" y="[0-9.]+"(?: text-anchor="(\w+)")? class="(?:tick|phase[a-z ]*)">([^<]+)<',
        text,
    )
    assert {"10 s", "after"} & {label for _, _, label in labels}
    for x, anchor, label in labels:
        width = 6.1 * len(label)
        assert float(x) + {"middle": width / 2, "end": 0}.get(anchor, width) <= 1000, label


def test_every_table_and_picture_of_the_page_scrolls_within_its_card() -> None:
    text = page(drilled(failures=[failure(5)]))
    assert text.count("<table") == 3
    assert text.count('<div class="wide"><table') == 3
    assert text.count('<div class="wide"><svg') == text.count("<svg")


def test_slots_have_a_colour_where_the_app_names_no_version() -> None:
    text = page(drilled(version="slot b"))
    assert '<i class="fill v2"></i>slot b<' in text


def test_a_page_can_be_made_of_next_to_nothing() -> None:
    result = drilled(operation=None)
    empty = Result("shop", None, 1e9, result.load, Course(), Timeline(Clock()), Recording())
    assert "<svg" in page(empty)
    assert "baseline" in page(result)


# -- where the load goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "url", "found"),
    [
        ("127.0.0.1:8080", None, ("http://127.0.0.1:8080", "/")),
        ("*:80", None, ("http://127.0.0.1:80", "/")),
        ("0.0.0.0:80", None, ("http://127.0.0.1:80", "/")),
        ("[::]:80", None, ("http://[::1]:80", "/")),
        ("*:80", "https://shop.example.com/a?b", ("https://shop.example.com", "/a?b")),
    ],
)
def test_the_front_door_is_where_the_balancer_listens_or_the_url(
    listen: str, url: str | None, found: tuple[str, str]
) -> None:
    assert front_door(kind="haproxy", listen=listen, url=url) == found


def test_another_balancer_needs_a_url() -> None:
    with pytest.raises(UsageError, match="--url"):
        front_door(kind="nginx", listen="127.0.0.1:8080", url=None)


@pytest.mark.parametrize(
    "url", ["shop.example.com", "ftp://x", "http://", "http://x:99999/", "http://a b/", "http://x/ y"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        front_door(kind="haproxy", listen="*:80", url=url)


def test_the_balancer_is_told_the_apps_domain_unless_somebody_names_another() -> None:
    assert host_header((), ("shop.example.com",), None) == "shop.example.com"
    assert host_header((("host", "x"),), ("shop.example.com",), None) is None
    load = Load("http://127.0.0.1:8080", headers=(("Host", "shop.example.com"),))
    request = load.request(LaneName.KEEP_ALIVE)
    assert request.count(b"\r\nHost: ") == 1
    assert b"\r\nHost: shop.example.com\r\n" in request


def test_a_load_survives_its_journey_to_the_generator() -> None:
    load = Load("http://127.0.0.1:8080", headers=(("A", "b"),), slow="/slow", rate=3.5)
    assert Load.from_json(load.to_json()) == load


# -- the journal ----------------------------------------------------------------------------------

RECORD = DrillRecord("shop", 4, "deploy v2", 1e9, 10.0, 1001, 1, 1, {"latency": {"all": {"p99": 0.5}}})


def test_the_journal_keeps_drills_the_latest_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.add_drill(RECORD)
    journal.add_drill(DrillRecord("shop", None, None, 1e9, 1.0, 10, 0, 0))
    journal.add_drill(DrillRecord("other", None, None, 1e9, 1.0, 10, 0, 0))
    found = journal.drills("shop")
    journal.close()
    assert [drill.id for drill in found] == [2, 1]
    assert found[1].summary == RECORD.summary
    assert (found[1].operation, found[1].deployment, found[1].failed) == ("deploy v2", 4, 1)
