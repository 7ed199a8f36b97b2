from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from substitute.console import Console
from substitute.console.tables import status_lines
from substitute.console.text import harmless, seconds
from substitute.core.model.errors import (
    DeploymentFailedError,
    InterruptedByUserError,
    LockedError,
    NothingServesError,
    UsageError,
)
from substitute.core.model.events import (
    Drained,
    Event,
    Failed,
    Interrupted,
    Notice,
    Output,
    PhaseFinished,
    PhaseStarted,
    Resolved,
    Succeeded,
    Warned,
)
from substitute.core.model.records import DeploymentRecord
from substitute.core.model.slots import Phase, SlotName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

STORY: tuple[Event, ...] = (
    Resolved("shop", SlotName.B, "b" * 40, "Fix the basket", "branch main of origin", "deploy"),
    PhaseStarted(Phase.BUILD, "shop", SlotName.B, 12),
    Output("build", "added 3 packages"),
    PhaseFinished(Phase.BUILD, "shop", SlotName.B, 12, 2.04),
    Warned("node_modules is in the repository."),
    Notice("Settled deployment 11."),
    Succeeded(
        "shop",
        SlotName.B,
        "b" * 40,
        "a" * 40,
        MappingProxyType({"build": 2.04, "total": 2.5}),
        Drained(finished=3, cut=1),
    ),
)
FAILED = Failed("shop", "ready", "It did not answer.", SlotName.A, "b" * 40)
INTERRUPTED = Interrupted("shop", "build", "Ctrl-C.", SlotName.A, "b" * 40)


def shown(events: Iterable[Event], *, as_json: bool = False) -> str:
    out = io.StringIO()
    with Console(json=as_json, out=out, err=io.StringIO()) as console:
        for event in events:
            console(event)
    return out.getvalue()


def test_without_a_terminal_a_deployment_is_plain_lines() -> None:
    assert shown(STORY).splitlines() == [
        "Deploying bbbbbbbbbb (branch main of origin) in slot b of shop: Fix the basket",
        "  build | added 3 packages",
        "build    2.0 s",
        "warning: node_modules is in the repository.",
        "Settled deployment 11.",
        "shop is live in slot b: aaaaaaaaaa -> bbbbbbbbbb in 2.5 s",
        "slot a: 3 requests in flight finished, 1 cut",
    ]


@pytest.mark.parametrize(
    ("drained", "told"),
    [
        (Drained(1), "1 request in flight finished, none cut"),
        (
            Drained(3, at_sigterm=2),
            "3 requests in flight finished, none cut (2 still under way when it was told to stop)",
        ),
        (Drained(2, streams=12), "2 requests in flight finished, none cut, 12 streams ended in waves"),
        (Drained(cut=1, streams=1), "0 requests in flight finished, 1 cut, 1 stream ended in waves"),
        (Drained(2, connections=True), "2 open connections ended, none still open when it was told to stop"),
        (
            Drained(1, cut=2, at_sigterm=2, connections=True),
            "1 open connection ended, 2 still open when it was told to stop",
        ),
        (
            Drained(handed_over=True),
            "a background process waits for its requests and stops it; `substitute status` shows when it is gone",
        ),
    ],
)
def test_what_became_of_the_requests_of_the_old_instance(drained: Drained, told: str) -> None:
    ended = STORY[-1]
    assert isinstance(ended, Succeeded)
    assert shown([replace(ended, drained=drained)]).splitlines()[-1] == f"slot a: {told}"


def test_the_first_deployment_says_nothing_of_an_earlier_version() -> None:
    first = Succeeded("shop", SlotName.A, "b" * 40, None, {"total": 0.5}, Drained())

    assert shown([first]) == "shop is live in slot a: bbbbbbbbbb in 500 ms\n"


def test_json_is_an_event_a_line_with_the_keys_of_the_contract() -> None:
    events = [json.loads(line) for line in shown(STORY, as_json=True).splitlines()]

    for event in events:
        moment = datetime.fromisoformat(event.pop("time"))
        assert moment.utcoffset() == UTC.utcoffset(None)
    assert events[1] == {"event": "phase", "phase": "build", "app": "shop", "slot": "b", "deployment": 12}
    assert events[2] == {"event": "output", "phase": "build", "line": "added 3 packages"}
    assert events[-1] == {
        "event": "succeeded",
        "app": "shop",
        "live": "b",
        "commit": "b" * 40,
        "previous": "a" * 40,
        "seconds": {"build": 2.04, "total": 2.5},
        "drained": {
            "finished": 3,
            "cut": 1,
            "at_sigterm": 0,
            "streams": 0,
            "connections": False,
            "handed_over": False,
            "stands_by": False,
        },
    }


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b[2Jb\x1b[1;1Hc", "abc"),
        ("\x1b]0;title\x07text", "text"),
        ("bell\x07 \x1bc", "bell^G ^[c"),
        ("over\rwritten", "over^Mwritten"),
        ("csi \x9b31m", "csi \\x9b31m"),
        ("mirrored \u202etxt.exe", "mirrored \\u202etxt.exe"),
        ("tab\tand ünïcode", "tab\tand ünïcode"),
    ],
)
def test_no_line_of_an_app_has_power_over_the_terminal(raw: str, safe: str) -> None:
    assert harmless(raw) == safe


@pytest.mark.parametrize("event", [Output("build", "\x1b[2J"), Notice("\x1b[2J"), Warned("\x1b[2J")])
def test_every_text_that_comes_from_outside_is_made_harmless(event: Event) -> None:
    assert "\x1b" not in shown([event])


def test_an_error_says_what_failed_the_fact_who_serves_and_the_next_command() -> None:
    err = io.StringIO()
    error = DeploymentFailedError(
        "Slot b did not answer 2xx-3xx within 30 s.",
        fact="last: 502\nlisten \x1b[2J failed",
        serves="Slot a (aaaaaaaaaa) still serves.",
        cure="See `substitute logs b`.",
    )

    Console(out=io.StringIO(), err=err).error(error)

    assert err.getvalue().splitlines() == [
        "error: Slot b did not answer 2xx-3xx within 30 s.",
        "  last: 502",
        "  listen  failed",
        "  Slot a (aaaaaaaaaa) still serves.",
        "  See `substitute logs b`.",
    ]


@pytest.mark.parametrize(
    ("event", "error"),
    [(FAILED, DeploymentFailedError("x")), (INTERRUPTED, InterruptedByUserError("x"))],
)
def test_json_says_a_failure_once(event: Event, error: DeploymentFailedError) -> None:
    out = io.StringIO()
    console = Console(json=True, out=out)
    console(event)
    console.error(error)

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [event.event]


@pytest.mark.parametrize("events", [(), (FAILED,)])
def test_json_tells_the_error_when_nothing_serves(events: tuple[Event, ...]) -> None:
    out = io.StringIO()
    console = Console(json=True, out=out)
    for event in events:
        console(event)
    console.error(NothingServesError("It did not start.", fact="exit status 3"))

    last = json.loads(out.getvalue().splitlines()[-1])
    assert (last["event"], last["reason"], last["exit"]) == ("error", "It did not start. exit status 3", 4)


def test_json_tells_a_failure_that_no_deployment_told() -> None:
    out = io.StringIO()
    Console(json=True, out=out).error(DeploymentFailedError("web did not answer."))

    assert json.loads(out.getvalue())["exit"] == 1


class Broken(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_reader_that_goes_away_ends_the_printing_and_nothing_else(*, as_json: bool) -> None:
    console = Console(json=as_json, out=Broken(), err=Broken())

    for event in (*STORY, FAILED):
        console(event)
    console.error(LockedError("held"))


def test_a_signal_that_comes_while_printing_is_not_swallowed() -> None:
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            raise InterruptedByUserError("Ctrl-C")

    with pytest.raises(InterruptedByUserError):
        Console(out=Interrupting())(Notice("hello"))


def test_what_a_signal_tells_in_the_middle_of_a_print_comes_after_it() -> None:
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            wrote = super().write(text[:5])
            if "first" in text:
                console(Notice("second"))
            return wrote + super().write(text[5:])

    out = Interrupting()
    console = Console(out=out, err=io.StringIO())
    console(Notice("the first"))
    assert out.getvalue() == "the first\nsecond\n"


def test_an_ascii_locale_shows_what_it_can() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Console(out=out)(Notice("Größe"))

    assert raw.getvalue() == b"Gr\\xf6\\xdfe\n"


def test_a_text_of_several_lines_is_shown_as_lines() -> None:
    err = io.StringIO()
    console = Console(out=io.StringIO(), err=err)
    console.aside(Warned("The hook failed.\n  | cold"))
    console.error(UsageError("No.\nNever."))
    assert err.getvalue() == "warning: The hook failed.\n  | cold\nerror: No.\n  Never.\n"


def test_a_warning_beside_a_document_goes_to_standard_error() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err)
    console.aside(Warned("careful"))
    console.aside(Notice("chatter"))

    assert (out.getvalue(), err.getvalue()) == ("", "warning: careful\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.004, "4 ms"),
        (0.9999, "1.0 s"),
        (2.46, "2.5 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
        (12000, "3 h 20 m"),
        (353000, "4 d 2 h"),
    ],
)
def test_durations_are_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


def slot(state: str, **values: Any) -> dict[str, Any]:
    idle = {"commit": None, "port": 3002, "pid": None, "share": 0, "in_flight": 0, "up_seconds": None}
    return {**idle, "state": state, **values}


def test_status_is_a_small_table() -> None:
    live = slot("live", commit="a" * 40, port=3001, pid=812, share=100, up_seconds=93.1)
    app = {
        "name": "shop",
        "live": "a",
        "next_deploy": "b",
        "deployment": {
            "id": 12,
            "operation": "deploy",
            "slot": "b",
            "commit": "c" * 40,
            "phase": "build",
            "pid": 9,
        },
        "slots": {"a": live, "b": slot("candidate")},
    }
    document = {
        "apps": [app],
        "balancer": {"kind": "haproxy", "listen": "127.0.0.1:8080", "running": True},
        "runtime": {"kind": "supervisord"},
    }

    assert list(status_lines(document, lambda text, _: text)) == [
        "shop: slot a is live, next deploy to b",
        "  slot  state      commit      port  pid  share  in flight  up",
        "  a     live       aaaaaaaaaa  3001  812  100%   0          1 m 33 s",
        "  b     candidate  -           3002  -    0%     0          -",
        "  deployment 12: deploy of cccccccccc to slot b, now in build (pid 9)",
        "",
        "balancer: haproxy on 127.0.0.1:8080, running",
        "runtime: supervisord",
    ]


RECORDS = [
    DeploymentRecord(
        3, "shop", "deploy", SlotName.B, "c" * 40, "b" * 40, 1e9, 1e9 + 2, "failed", "ready",
        reason="The instance in slot b exited.\nIt ended with exit status 3.\n  | no database\n  | bye",
        seconds={"build": 2.04, "ready": 0.0}, subject="Fix the\x1b[31m basket", how="tag v1.2", tag="v1.2", user="ada",
    ),
    DeploymentRecord(2, "shop", "deploy", SlotName.A, "b" * 40, None, 1e9, None, None, "build", ""),
    DeploymentRecord(
        1, "shop", "deploy", SlotName.B, "a" * 40, None, 1e9, 1e9 + 1, "succeeded", "stop", "shop_a cannot be ended."
    ),
]  # fmt: skip


def test_history_shows_how_each_ended() -> None:
    out = io.StringIO()
    Console(out=out).history(RECORDS, with_app=False)

    lines = out.getvalue().splitlines()
    assert lines[1].endswith("deploy     cccccccccc  b     failed     2.0 s  ada   (v1.2) Fix the basket")
    assert lines[2] == "    ready: The instance in slot b exited. It ended with exit status 3."
    assert lines[3].split()[0] == "2"
    assert "under way" in lines[3]
    assert lines[5:] == ["    shop_a cannot be ended."]


def test_no_reason_is_cut_in_the_history() -> None:
    out = io.StringIO()
    why = "Slot b did not answer 2xx-3xx on :3002/a/long/way/to/the/health/check within 30s (last: 502)."
    Console(out=out).history([replace(RECORDS[0], reason=why)], with_app=False)
    assert out.getvalue().splitlines()[-1] == f"    ready: {why}"


def test_one_deployment_is_shown_in_full_with_where_its_log_is() -> None:
    out = io.StringIO()
    Console(out=out).deployment(RECORDS[0], [])
    shown = out.getvalue()
    assert shown.splitlines()[0] == "deployment 3 of shop: failed in phase ready"
    for known in ("c" * 40, "Fix the basket", "tag v1.2", "b" * 40, "ada", "build 2.0 s", "    | bye"):
        assert known in shown
    assert shown.splitlines()[-1].split("`")[1] == "substitute logs --deployment 3"


def test_the_history_document_has_times_that_programs_read() -> None:
    out = io.StringIO()
    Console(json=True, out=out).history(RECORDS, with_app=False)

    first, second, _ = json.loads(out.getvalue())["deployments"]
    assert (first["subject"], first["tag"], first["user"]) == ("Fix the\x1b[31m basket", "v1.2", "ada")
    assert first["started"] == "2001-09-09T01:46:40.000Z"
    assert (first["slot"], first["outcome"], second["finished"]) == ("b", "failed", None)


ON_A_TERMINAL = textwrap.dedent("""
    from tests.unit.test_console import FAILED, STORY
    from substitute.console import Console
    from substitute.core.model.errors import DeploymentFailedError
    console = Console()
    for event in (*STORY, STORY[1], FAILED):
        console(event)
    console.error(DeploymentFailedError("It did not answer."))
""")


def on_a_terminal(**environment: str) -> str:
    master, terminal = pty.openpty()
    keep = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "TERM"}}
    try:
        subprocess.run(
            [sys.executable, "-c", ON_A_TERMINAL],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**keep, "PYTHONUTF8": "1", **environment},
            check=True,
        )
    finally:
        os.close(terminal)
    seen = b""
    try:
        while data := os.read(master, 65536):
            seen += data
    except OSError:  # a terminal that nobody holds any more reads as an error
        pass
    finally:
        os.close(master)
    return seen.decode()


def test_a_terminal_shows_the_phase_under_way_and_gets_its_cursor_back() -> None:
    seen = on_a_terminal(TERM="xterm-256color")

    assert "\x1b[?25l" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert "✓\x1b[0m build" in seen
    assert "✗ build" in seen
    assert "\x1b[33mwarning: node_modules" in seen
    assert "\x1b[2m  build | added 3 packages" in seen


def test_no_color_is_obeyed() -> None:
    seen = on_a_terminal(TERM="xterm-256color", NO_COLOR="1")

    assert "✓ build" in seen
    assert "m" not in {part.lstrip("0123456789;?")[:1] for part in seen.split("\x1b[")[1:]}


def test_a_dumb_terminal_gets_plain_lines() -> None:
    assert "\x1b" not in on_a_terminal(TERM="dumb")
