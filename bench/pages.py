"""Where the tables of docs/ that are measured are written: each between two marks of its own."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def write(page: str, table: str, *, mark: str = "measured") -> None:
    """Put `table` between ``<!-- mark: begin -->`` and ``<!-- mark: end -->`` of ``docs/page``, and print it.

    Raises ValueError where the page has no such marks.
    """
    file = DOCS / page
    file.write_text(between(file.read_text(), table, mark=mark))
    print(table, end="")  # noqa: T201


def between(text: str, table: str, *, mark: str = "measured") -> str:
    """`text` with `table` between its marks. Raises ValueError."""
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"no {begin.strip()} and {end.strip()} in this page")
    return before + begin + table + end + rest.partition(end)[2]


def measured(how: str, command: str) -> str:
    """The lines below a table: when, where and by which command; `how` says what the figures are."""
    today = datetime.now(tz=UTC).date().isoformat()
    where = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"
    return f"\n{how}\nMeasured on {today}, {where}, by `python -m bench.{command}`.\n"
