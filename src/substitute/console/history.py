"""``history`` as tables, one deployment in full, and both as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.console.jsonlines import iso_time, plain
from substitute.console.tables import moment, or_dash, table
from substitute.console.text import harmless, seconds, short
from substitute.core.deploy.versions.release_guard import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from substitute.core.model.records import DeploymentRecord, DrillRecord
    from substitute.core.operate.releases import Latest

    Paint = Callable[[str, str], str]

_WELL = {"succeeded", "passed", "held", "promoted", "aborted", None}
"""Outcomes for which the last phase is no explanation."""
_OUTCOME_STYLE = {
    "succeeded": "green",
    "passed": "green",
    "promoted": "green",
    "held": "yellow",
    "aborted": "yellow",
    "failed": "red",
    "interrupted": "yellow",
    "not proven": "yellow",
}
_OF_A_LOG = "  |"
"""What the lines of a log begin with that are part of a reason."""


def history_lines(records: Sequence[DeploymentRecord], paint: Paint, *, with_app: bool) -> Iterator[str]:
    """Yield the lines of ``substitute history``, the latest deployment first; times are local.

    Below one that did not end well stands why, whole.
    """
    if not records:
        yield "No deployment yet."
        return
    apps = ("app",) if with_app else ()
    # Two are always there: the slots'.
    kept = ("kept",) if len({record.commit for record in records if record.kept}) > 2 else ()
    with_release = any(record.release_outcome for record in records)
    release = ("release",) if with_release else ()
    heads = (
        "id",
        "when",
        *apps,
        "operation",
        "commit",
        *kept,
        "slot",
        "outcome",
        "took",
        *release,
        "user",
        "subject",
    )
    rows = [
        (
            str(record.id),
            moment(record.started),
            *((record.app,) if with_app else ()),
            record.operation,
            short(record.commit),
            *(("yes" if record.kept else "-",) if kept else ()),
            str(record.slot),
            record.outcome or "under way",
            _took(record),
            *((released(record) or "-",) if with_release else ()),
            harmless(record.user) or "-",
            _subject(record),
        )
        for record in records
    ]
    head, *lines = table(heads, rows, paint, styles={heads.index("outcome"): _OUTCOME_STYLE}, indent="")
    yield head
    for record, line in zip(records, lines, strict=True):
        yield line
        if why := _why(record):
            yield f"    {why}"


def _took(record: DeploymentRecord) -> str:
    return "-" if record.finished is None else seconds(max(0.0, record.finished - record.started))


def _subject(record: DeploymentRecord) -> str:
    """The tag, where there is one, and the first line of the message."""
    return " ".join(filter(None, [record.tag and f"({harmless(record.tag)})", harmless(record.subject)]))


def _why(record: DeploymentRecord) -> str:
    """The reason in a line, without what an instance or a build wrote."""
    told = [line for line in record.reason.splitlines() if not line.startswith(_OF_A_LOG)]
    why = harmless(" ".join(map(str.strip, told)))
    well = record.outcome in _WELL
    return why if well or not record.phase else f"{record.phase}: {why}".removesuffix(": ")


def deployment_lines(record: DeploymentRecord, paint: Paint) -> Iterator[str]:
    """Yield all that is known of one deployment."""
    outcome = record.outcome or "under way"
    where = f" in phase {record.phase}" if record.phase and record.outcome not in _WELL else ""
    yield (
        f"{paint(f'deployment {record.id}', 'bold')} of {record.app}: "
        f"{paint(outcome, _OUTCOME_STYLE.get(outcome, ''))}{where}"
    )
    phases = ", ".join(f"{phase} {seconds(took)}" for phase, took in record.seconds.items() if took)
    known = {
        "operation": f"{record.operation} into slot {record.slot}",
        "commit": record.commit or "-",
        "kept": "as it was built: a rollback to it builds nothing" if record.kept else "",
        "subject": harmless(record.subject),
        "chosen as": harmless(record.how),
        "tag": harmless(record.tag),
        "live before": record.previous or "",
        "user": harmless(record.user),
        "began": moment(record.started),
        "took": _took(record),
        "phases": phases,
        "release": released(record),
    }
    for name, value in known.items():
        if value:
            yield f"  {name:<11}  {value}"
    if record.reason:
        yield "  reason"
        for line in record.reason.splitlines():
            yield f"    {harmless(line)}".rstrip()
    yield f"  log          `substitute logs --deployment {record.id}`"


def release_lines(latest: Latest, paint: Paint) -> Iterator[str]:
    """Yield what is known of the latest `release` of an app."""
    record = latest.deployment
    if record is None:
        yield f"{paint(latest.app, 'bold')}: no deployment has run a release yet"
        return
    yield (
        f"{paint(latest.app, 'bold')}: release of deployment {record.id} ({short(record.commit)}, "
        f"{moment(record.started)}): {released(record)}"
    )
    if latest.rollback:
        yield paint("  `substitute rollback` is refused: the version before does not survive it", "yellow")


def release_document(latest: Latest) -> dict[str, Any]:
    """Return the ``release --json`` document."""
    deployments = history_document([latest.deployment] if latest.deployment else [])["deployments"]
    return {
        "app": latest.app,
        "deployment": next(iter(deployments), None),
        "rollback_refused": latest.rollback,
    }


def released(record: DeploymentRecord) -> str:
    """What became of its `release`: ``succeeded in 1.2s, contract``; empty where it ran none."""
    ran_here = record.release_seconds is not None and record.release_outcome != ELSEWHERE
    took = f" in {seconds(record.release_seconds or 0.0)}" if ran_here else ""
    guard = f", {record.release_guard}" if record.release_guard else ""
    return f"{record.release_outcome}{took}{guard}" if record.release_outcome else ""


def drill_lines(records: Sequence[DrillRecord], paint: Paint, *, with_app: bool) -> Iterator[str]:
    """Yield the lines of the drills, the latest first; nothing where there was none."""
    if not records:
        return
    heads = (
        "drill",
        "when",
        *(("app",) if with_app else ()),
        "operation",
        "deployment",
        "requests",
        "failed",
        "p99",
    )
    rows = [
        (
            str(record.id),
            moment(record.started),
            *((record.app,) if with_app else ()),
            harmless(record.operation or "baseline"),
            or_dash(record.deployment),
            f"{record.requests:,}",
            f"{record.failed:,}" if record.failed else "none",
            _p99(record),
        )
        for record in records
    ]
    yield ""
    yield from table(heads, rows, paint, styles={heads.index("failed"): {"none": "green"}}, indent="")


def _p99(record: DrillRecord) -> str:
    """Before, during and after the operation."""
    latency = record.summary["latency"]
    parts = [row["p99"] for name, row in latency.items() if name != "all" or len(latency) == 1]
    return " / ".join("-" if value is None else seconds(value) for value in parts)


def history_document(
    records: Iterable[DeploymentRecord], drills: Iterable[DrillRecord] = ()
) -> dict[str, Any]:
    """Return the ``history --json`` document; times are ISO 8601, UTC."""
    return {
        "deployments": [
            {
                **plain(record),
                "started": iso_time(record.started),
                "finished": None if record.finished is None else iso_time(record.finished),
            }
            for record in records
        ],
        "drills": [{**plain(drill), "started": iso_time(drill.started)} for drill in drills],
    }
