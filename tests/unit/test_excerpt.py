from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import pytest

from substitute.console import Console
from substitute.core.deploy.deployment import deploy
from substitute.core.excerpt import Shown, excerpt
from substitute.core.model.errors import SubstituteError
from substitute.core.model.events import Event, Output
from tests.unit.fakes.logs import Written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes.shop import Shop

TRACE = ["Traceback (most recent call last):", "ImportError: No module named 'shop'"]


def shown(lines: list[str]) -> list[str]:
    found: list[str] = []
    with excerpt(found.append, rest="see the log.") as take:
        for line in lines:
            take(line)
    take("too late")
    return found


@pytest.mark.parametrize("count", [0, 1, 40, 41, 50])
def test_a_few_lines_are_shown_as_they_are(count: int) -> None:
    lines = [f"line {number}" for number in range(count)]
    assert shown(lines) == lines


def test_of_many_lines_the_first_and_the_last_are_shown_and_where_the_rest_is() -> None:
    lines = [f"line {number}" for number in range(5400)]
    assert shown(lines) == [*lines[:40], "... 5350 lines are not shown here: see the log.", *lines[-10:]]


def test_the_first_lines_are_shown_at_once_and_the_last_even_after_a_failure() -> None:
    found: list[str] = []

    def fail_late() -> None:
        with excerpt(found.append, rest="") as take:
            take("first")
            assert found == ["first"]
            for number in range(60):
                take(f"{number}")
            raise ValueError("end")

    with pytest.raises(ValueError, match="end"):
        fail_late()
    assert found[-1] == "59"


def test_only_what_was_shown_whole_and_in_a_row_is_left_out_of_an_error() -> None:
    known = Shown()
    for line in ["one", "two", "three"]:
        known.add(line)
    assert known.without("It ended.\n  | two\n  | three") == "It ended."
    for text in ("It ended.\n  | one\n  | three", "It ended.\n  | three\n  | four", "It ended."):
        assert known.without(text) == text


def fail(shop: Shop, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> SubstituteError:
    monkeypatch.setattr(shop.host.runtime, "log", lambda *_: Written(lines))
    shop.world.boots = lambda _: False
    with pytest.raises(SubstituteError) as told:
        deploy(shop.host, shop.app, "v1")
    return told.value


def test_a_version_that_writes_much_before_it_fails_fills_neither_the_screen_nor_the_log_of_the_deployment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"line {number} {'x' * 2300}" for number in range(5400)]  # 12 MB
    error = fail(shop, lines, monkeypatch)

    told = [event.line for event in shop.events if isinstance(event, Output) and event.phase == "ready"]
    assert told == [
        *lines[:40],
        "... 5350 lines are not shown here: see `substitute logs a`.",
        *lines[-10:],
    ]
    assert lines[-1] in error.reason
    assert (shop.app.log_directory / "deployment-1.log").stat().st_size < 200_000


def test_a_traceback_stands_once_in_the_log_of_the_deployment_and_in_the_journal(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(shop, TRACE, monkeypatch)
    written = (shop.app.log_directory / "deployment-1.log").read_text()
    assert [written.count(line) for line in TRACE] == [1, 1]
    assert "It ended with exit status 1." in written
    assert TRACE[1] in shop.host.journal.history("shop")[0].reason


def told(events: list[Event], error: SubstituteError, out: TextIO, err: TextIO) -> None:
    with Console(out=out, err=err) as console:
        for event in events:
            console(event)
        console.error(error)


def test_a_traceback_is_told_once_on_a_screen_and_on_each_of_two_files(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    error = fail(shop, TRACE, monkeypatch)
    both, out, err = (tmp_path / name for name in ("both", "out", "err"))
    with both.open("a") as one, both.open("a") as two:
        told(shop.events, error, one, two)
    with out.open("a") as one, err.open("a") as two:
        told(shop.events, error, one, two)

    for file in (both, out, err):
        assert [file.read_text().count(line) for line in TRACE] == [1, 1]
    assert "It ended with exit status 1." in both.read_text()
