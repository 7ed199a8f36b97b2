"""Crons of many hosts, and what ran there beside the instances, as tables; times are local."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from substitute.console.tables import moment, or_dash, table
from substitute.console.text import harmless, short
from substitute.hosts.errors import HostError
from substitute.hosts.report.tables import error_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from substitute.console.tables import Paint
    from substitute.hosts.channel import RemoteHost

    Answers = Mapping[str, Any]

_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "timed out": "red",
    "lost": "yellow",
    "skipped": "yellow",
    "missed": "yellow",
}


def cron_lines(hosts: Sequence[RemoteHost], answers: Answers, paint: Paint) -> Iterator[str]:
    """A line for each cron on each host."""
    found = _all(hosts, answers, "crons")
    with_app = len({one["app"] for _, one in found}) > 1
    heads = ("host", "cron", *(("app",) if with_app else ()), "at", "next", "last", "outcome")
    rows = [
        (
            name,
            one["name"],
            *((one["app"],) if with_app else ()),
            " ".join(filter(None, [one["at"], one["timezone"]])),
            "paused" if one["paused"] else _local(one["next"]),
            _local(one["last"] and (one["last"]["due"] or one["last"]["started"])),
            (one["last"]["outcome"] or "under way") if one["last"] else "-",
        )
        for name, one in found
    ]
    yield from _table(heads, rows, paint) if rows else ["The live versions have no crons."]
    for host in hosts:
        answer = answers[host.name]
        scheduler = {} if isinstance(answer, HostError) else answer["scheduler"]
        if scheduler.get("wanted") and not scheduler["pid"]:
            cure = f"type `substitute up --on {host.name}`"
            yield paint(f"{host.name}: The scheduler does not run, so nothing is started: {cure}.", "red")
    yield from error_lines(answers, paint)


def run_lines(hosts: Sequence[RemoteHost], answers: Answers, paint: Paint, *, limit: int) -> Iterator[str]:
    """What has run, or runs, on all of them, the latest first."""
    found = _all(hosts, answers, "runs")
    found.sort(key=lambda pair: str(pair[1]["started"]), reverse=True)
    heads = ("when", "host", "run", "slot", "outcome", "status", "user", "command")
    rows = [
        (
            _local(one["due"] or one["started"]),
            name,
            one["name"],
            one["slot"],
            one["outcome"] or "under way",
            or_dash(one["status"]),
            harmless(one["user"]) or "-",
            harmless(one["cron"] or one["command"]),
        )
        for name, one in found[:limit]
    ]
    yield from _table(heads, rows, paint) if rows else ["Nothing was run yet."]
    yield from error_lines(answers, paint)


def _all(hosts: Sequence[RemoteHost], answers: Answers, what: str) -> list[tuple[str, Mapping[str, Any]]]:
    given = [(host.name, answers[host.name]) for host in hosts]
    return [
        (name, one) for name, answer in given if not isinstance(answer, HostError) for one in answer[what]
    ]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], paint: Paint) -> Iterator[str]:
    return table(heads, rows, paint, styles={heads.index("outcome"): _STYLES}, indent="")


def release_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What ``release --json`` says, for people."""
    found = document["deployment"]
    if found is None:
        yield f"{document['app']}: no deployment has run a release yet"
        return
    became = ", ".join(filter(None, [found["release_outcome"], found["release_guard"]]))
    number, commit, began = found["id"], short(found["commit"]), _local(found["started"])
    yield f"{document['app']}: release of deployment {number} ({commit}, {began}): {became}"
    if document["rollback_refused"]:
        yield "`substitute rollback` is refused: the version before does not survive it"


def _local(iso: str | None) -> str:
    return "-" if iso is None else moment(datetime.fromisoformat(iso).timestamp())
