"""The picture of the comparison: failed requests and the slowest hundredth, a bar each, by procedure."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from bench.comparison.measurement import RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparison.measurement import Figures
    from bench.comparison.procedures import Row

_WIDTH, _TOP, _LINE = 960, 78, 27
_FAILED_AT, _BROKEN_AT, _SLOW_AT, _LENGTH = 345, 560, 770, 110
_STYLE = """\
    text { fill: #1f2937; font-size: 13px } .small { font-size: 12px; fill: #4b5563 } .title { font-weight: 600 }
    .ours { font-weight: 600 } .good { fill: #16a34a } .bad { fill: #dc2626 } .time { fill: #93c5fd }
    .line { stroke: #e5e7eb }"""


def draw(found: Sequence[tuple[Row, Figures]]) -> str:
    """The SVG's text."""
    height = _TOP + _LINE * len(found) + 14
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="system-ui, sans-serif" role="img" '
            'aria-label="Failed requests and latency of deployments, by procedure">'
        ),
        f"  <style>\n{_STYLE}\n  </style>",
        f'  <rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_text(20, 28, f"Deployments under {2 * RATE} requests a second", "title"),
        *_text(20, 48, "clients that never retry; bars are logarithmic", "small"),
        *_text(_FAILED_AT, 28, "requests that fail", "title"),
        *_text(_FAILED_AT, 48, "in one deployment or rollback", "small"),
        *_text(_BROKEN_AT, 28, "that fail in a bad one", "title"),
        *_text(_BROKEN_AT, 48, "the version crashes at boot", "small"),
        *_text(_SLOW_AT, 28, "99th percentile", "title"),
        *_text(_SLOW_AT, 48, "while deploying", "small"),
    ]
    columns = [
        (_FAILED_AT, [_failed(figures) for _, figures in found]),
        (_BROKEN_AT, [float(figures.failed_when_broken) for _, figures in found]),
        (_SLOW_AT, [figures.p99_during * 1000 for _, figures in found]),
    ]
    for number, (row, _) in enumerate(found):
        y = _TOP + _LINE * number
        parts.append(f'  <path class="line" d="M20 {y - 9}H{_WIDTH - 20}"/>')
        parts += _text(20, y + 9, row.name.replace("`", ""), "ours" if row.ours else "")
        for x, values in columns:
            parts += _cell(x, y, values[number], max(1.0, *values), time=x == _SLOW_AT)
    return "\n".join([*parts, "</svg>", ""])


def _failed(figures: Figures) -> float:
    failed = sum(figures.failed.values()) + figures.failed_in_rollbacks
    return failed / (figures.deployments + figures.rollbacks)


def _cell(x: int, y: int, value: float, most: float, *, time: bool) -> list[str]:
    length = round(_LENGTH * math.log10(1 + value) / math.log10(1 + most), 1)
    words = f"{value:,.0f} ms" if time else _number(value)
    kind = "" if time or value else "good ours"
    return [
        *_bar(x, y, length, "time" if time else "bad"),
        *_text(x + length + (8 if length else 0), y + 9, words, kind),
    ]


def _number(value: float) -> str:
    return "0" if not value else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _bar(x: int, y: int, length: float, kind: str) -> list[str]:
    return (
        [f'  <rect class="{kind}" x="{x}" y="{y - 4}" width="{length}" height="16" rx="3"/>']
        if length
        else []
    )


def _text(x: float, y: int, words: str, kind: str = "") -> list[str]:
    named = f' class="{kind}"' if kind else ""
    return [f'  <text x="{x:g}" y="{y}"{named}>{escape(words)}</text>']
