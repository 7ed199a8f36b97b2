"""The picture of the comparison: failed requests and the slowest hundredth, a bar each, by procedure."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparison.measurement import Figures
    from bench.comparison.procedures import Row

_WIDTH, _TOP, _LINE = 860, 78, 27
_FAILED_AT, _SLOW_AT, _LENGTH = 350, 620, 160
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
        *_text(20, 28, "One deployment under load", "title"),
        *_text(_FAILED_AT, 28, "requests that fail", "title"),
        *_text(_SLOW_AT, 28, "99th percentile meanwhile", "title"),
        *_text(20, 48, "500 requests a second, GET and POST", "small"),
        *_text(_FAILED_AT, 48, "logarithmic", "small"),
        *_text(_SLOW_AT, 48, "logarithmic, from when it was meant to be sent", "small"),
    ]
    most = max(1.0, *(_failed(figures) for _, figures in found))
    slowest = max(figures.p99_during * 1000 for _, figures in found)
    for number, (row, figures) in enumerate(found):
        parts += _line(_TOP + _LINE * number, row, figures, most=most, slowest=slowest)
    return "\n".join([*parts, "</svg>", ""])


def _line(y: int, row: Row, figures: Figures, *, most: float, slowest: float) -> list[str]:
    failed, slow = _failed(figures), figures.p99_during * 1000
    bar = _share(failed, most)
    return [
        f'  <path class="line" d="M20 {y - 9}H{_WIDTH - 20}"/>',
        *_text(20, y + 9, row.name.replace("`", ""), "ours" if row.ours else ""),
        *_bar(_FAILED_AT, y, bar, "bad"),
        *_text(_FAILED_AT + bar + (8 if bar else 0), y + 9, _number(failed), "" if failed else "good ours"),
        *_bar(_SLOW_AT, y, _share(slow, slowest), "time"),
        *_text(_SLOW_AT + _share(slow, slowest) + 8, y + 9, f"{slow:,.0f} ms"),
    ]


def _failed(figures: Figures) -> float:
    return sum(figures.failed.values()) / figures.deployments


def _share(value: float, most: float) -> float:
    return round(_LENGTH * math.log10(1 + value) / math.log10(1 + most), 1)


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
