"""Commands that ran beside the instances, as a table and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.console.jsonlines import iso_time, plain
from substitute.console.tables import moment, or_dash, table
from substitute.console.text import harmless, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from substitute.core.model.records import RunRecord

    Paint = Callable[[str, str], str]

_OUTCOME_STYLE = {"succeeded": "green", "failed": "red", "timed out": "red", "lost": "yellow"}


def run_lines(records: Sequence[RunRecord], paint: Paint, *, with_app: bool) -> Iterator[str]:
    """Yield the lines of ``substitute history --runs``, the latest first; times are local."""
    if not records:
        yield "Nothing was run yet."
        return
    heads = (
        "run",
        "when",
        *(("app",) if with_app else ()),
        "slot",
        "outcome",
        "status",
        "took",
        "user",
        "command",
    )
    rows = [
        (
            run.name,
            moment(run.started),
            *((run.app,) if with_app else ()),
            str(run.slot),
            run.outcome or "under way",
            or_dash(run.status),
            "-" if run.finished is None else seconds(max(0.0, run.finished - run.started)),
            harmless(run.user) or "-",
            harmless(run.command),
        )
        for run in records
    ]
    yield from table(heads, rows, paint, styles={heads.index("outcome"): _OUTCOME_STYLE}, indent="")


def runs_document(records: Iterable[RunRecord]) -> dict[str, Any]:
    """Return the ``history --runs --json`` document; times are ISO 8601, UTC."""
    times = ("started", "finished", "due")
    return {
        "runs": [
            {
                **{name: value for name, value in plain(run).items() if name != "process"},
                "name": run.name,
                **{name: None if (at := getattr(run, name)) is None else iso_time(at) for name in times},
            }
            for run in records
        ]
    }
