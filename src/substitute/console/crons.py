"""``cron`` as a table, and what became of runs; times are local."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from substitute.console.tables import moment, or_dash, table
from substitute.console.text import harmless, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from substitute.core.model.records import RunRecord

    Paint = Callable[[str, str], str]

_OUTCOME_STYLE = {
    "succeeded": "green",
    "failed": "red",
    "timed out": "red",
    "lost": "yellow",
    "skipped": "yellow",
    "missed": "yellow",
}


def cron_lines(document: Mapping[str, Any], paint: Paint, *, with_app: bool) -> Iterator[str]:
    """Yield the lines of ``substitute cron``."""
    crons: Sequence[Mapping[str, Any]] = document["crons"]
    if not crons:
        yield "The live version has no crons."
        return
    heads = ("cron", *(("app",) if with_app else ()), "at", "next", "last", "outcome", "command")
    rows = [
        (
            one["name"],
            *((one["app"],) if with_app else ()),
            " ".join(filter(None, [one["at"], one["timezone"]])),
            "paused" if one["paused"] else _local(one["next"]),
            _local(one["last"] and (one["last"]["due"] or one["last"]["started"])),
            (one["last"]["outcome"] or "under way") if one["last"] else "-",
            harmless(one["command"]),
        )
        for one in crons
    ]
    yield from table(heads, rows, paint, styles={heads.index("outcome"): _OUTCOME_STYLE}, indent="")
    yield from dict.fromkeys(map(_paused, filter(lambda one: one["paused"], crons)))
    scheduler = document["scheduler"]
    if scheduler["wanted"] and not scheduler["pid"]:
        yield paint("The scheduler does not run, so nothing is started: type `substitute up`.", "red")


def _paused(cron: Mapping[str, Any]) -> str:
    pause = cron["paused"]
    what = f"All crons of {cron['app']}" if pause["all"] else cron["name"]
    return f"{what}: paused by {harmless(pause['by'])} since {_local(pause['since'])}."


def history_lines(records: Sequence[RunRecord], paint: Paint, *, with_app: bool) -> Iterator[str]:
    """Yield the lines of ``substitute history --cron``, the latest first."""
    if not records:
        yield "No cron has run yet."
        return
    heads = (
        "run",
        "due",
        *(("app",) if with_app else ()),
        "cron",
        "slot",
        "outcome",
        "status",
        "took",
        "user",
    )
    rows = [
        (
            run.name,
            moment(run.started if run.due is None else run.due),
            *((run.app,) if with_app else ()),
            run.cron,
            str(run.slot),
            run.outcome or "under way",
            or_dash(run.status),
            _took(run),
            harmless(run.user) or "-",
        )
        for run in records
    ]
    yield from table(heads, rows, paint, styles={heads.index("outcome"): _OUTCOME_STYLE}, indent="")


def _took(run: RunRecord) -> str:
    if run.finished is None or run.outcome in {"missed", "skipped"}:
        return "-"
    return seconds(max(0.0, run.finished - run.started))


def _local(iso: str | None) -> str:
    return "-" if iso is None else moment(datetime.fromisoformat(iso).timestamp())
