"""What a person sees, and a program reads, while something happens on many hosts."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from substitute.console import Console
from substitute.hosts.outcomes import Outcome, State
from substitute.hosts.report.progress import Progress

COMMIT = "1" * 40
ROLLOUT = {
    "event": "rollout",
    "operation": "deploy",
    "app": "shop",
    "commit": COMMIT,
    "batches": [["web1"], ["web2", "web30"]],
}


class Shown:
    """A progress, and what it printed."""

    def __init__(self, *, json: bool = False) -> None:
        self.out = io.StringIO()
        self.progress = Progress(Console(json=json, out=self.out, err=io.StringIO()), "c0")

    def lines(self, *events: dict[str, Any]) -> list[str]:
        for event in events:
            self.progress(event)
        return self.out.getvalue().splitlines()


def ended(host: str, state: State, **more: Any) -> dict[str, Any]:
    return {"event": "host_ended", **Outcome(host, state, **more).document()}


def test_lines_name_the_host_in_a_column() -> None:
    assert Shown().lines(
        ROLLOUT,
        {"event": "batch", "number": 1, "of": 2, "hosts": ["web1"]},
        {"event": "phase", "phase": "build", "host": "web1"},
        {"event": "phase_finished", "phase": "build", "seconds": 2.0, "host": "web1"},
        {"event": "output", "phase": "build", "line": "noise", "host": "web1"},
        ended("web1", State.SUCCEEDED, live="b", commit=COMMIT, seconds=3.0),
        ended("web30", State.FAILED, exit=1, reason="It is broken.", cure="Mend it."),
    ) == [
        "Deploying 1111111111 of shop on web1, then web2 and web30.",
        "batch 1 of 2: web1",
        "web1  | build 2.0 s",
        "web1  | succeeded: slot b is live with 1111111111 in 3.0 s",
        "web30 | failed",
        "web30 | It is broken.",
        "        Mend it.",
    ]


def test_the_same_warning_of_many_hosts_is_told_once() -> None:
    lines = Shown().lines(
        ROLLOUT, *({"event": "warning", "message": "Beware.", "host": name} for name in ("web1", "web2"))
    )
    assert lines[1:] == ["web1  | warning: Beware."]


def test_a_host_with_another_configuration_is_warned_of() -> None:
    hello = {"event": "hello", "host": "web1", "configuration": "c1"}
    assert "The substitute.toml on web1 is not the one here" in Shown().lines(hello)[0]
    assert not Shown().lines({**hello, "configuration": "c0"})


def test_programs_get_each_event_with_its_host() -> None:
    shown = Shown(json=True)
    event = {"event": "phase", "phase": "build", "time": "then", "host": "web1"}
    (first,) = shown.lines(event, {"event": "hello", "host": "web1", "configuration": "c0"})
    assert json.loads(first) == event
    warned = json.loads(shown.lines({"event": "hello", "host": "web2", "configuration": None})[-1])
    assert (warned["event"], warned["host"]) == ("warning", "web2")


@pytest.mark.parametrize("state", [State.FAILED, State.SUCCEEDED])
def test_logs_end_without_a_word_where_all_is_well(state: State) -> None:
    for as_json in (False, True):
        shown = Shown(json=as_json)
        shown.progress.expect(["web1"], ends=False)
        lines = shown.lines(
            {"slot": "a", "line": "\x1b[2Jhello", "host": "web1"}, ended("web1", state, exit=1)
        )
        assert len(lines) == (1 if state.is_good else 2) + (not as_json and not state.is_good)
        assert as_json or lines[0] == "web1 | a | hello"


def test_many_hosts_are_counted_and_not_listed() -> None:
    batches = [["h0"], [f"h{number}" for number in range(1, 20)]]
    assert Shown().lines({**ROLLOUT, "batches": batches}) == [
        "Deploying 1111111111 of shop on 1 host, then 19 hosts."
    ]


def test_a_lost_connection_is_told_with_what_it_means() -> None:
    (line,) = Shown().lines({"event": "lost", "host": "web1", "reason": "The connection to web1 was lost."})
    assert "What runs there goes on" in line
