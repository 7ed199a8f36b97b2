"""The picture of a drill: phases, requests, latencies and long requests over one axis of time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from substitute.console.text import seconds
from substitute.drill.report.markup import Safe, element, join
from substitute.drill.report.scale import Span, decades, ticks
from substitute.drill.report.strip import shade, strip
from substitute.drill.report.summary import version_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.drill.report.view import Column, View

_WIDTH, _LEFT, _RIGHT = 1000, 62, 992
_ROW, _STRIP, _GAP = 15, 22, 34
_REQUESTS, _LATENCIES, _BAR = 110, 210, 7
_LETTER = 6.1
_LEAST = 1e-5
"""Seconds; a logarithmic axis has no zero."""
_CELL = 2.0
"""Dots nearer to each other than this, of the same version, are drawn as one."""


def figure(view: View, *, tiny: bool) -> Safe:
    """Draw what `view` sees. `tiny` says whether phases too short to be seen are named all the same."""
    span = Span(view.low, view.high, _LEFT, _RIGHT)
    phases, strip_end = strip(view, span, tiny=tiny)
    parts = [phases]
    top: float = strip_end
    for draw, height, needed in (
        (_requests, _REQUESTS, True),
        (_latencies, _LATENCIES, bool(view.dots)),
        (_long, _rows(view) * _BAR, bool(view.bars)),
    ):
        if needed:
            top += _GAP + height
            parts.append(draw(view, span, Span(0, 1, top, top - height)))
    parts.insert(0, shade(view, span, strip_end, top))
    parts.append(_time_axis(view, span, top))
    return element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {top + 34:g}", role="img",
        aria_label="Phases, requests and latencies over time",
    )  # fmt: skip


def colour(view: View, version: str) -> str:
    """The class that gives a version its colour; an answer that does not say has none of its own."""
    named = [name for name in view.versions if name]
    return f"v{named.index(version) % 6 + 1}" if version in named else "v0"


# -- requests a second ----------------------------------------------------------------------------


def _requests(view: View, span: Span, place: Span) -> Safe:
    highest = max((sum(one.answered.values()) + one.failed for one in view.columns), default=1) / view.width
    scale = Span(0, highest * 1.05, place.start, place.end)
    return join(
        _title("requests answered a second", place),
        *(_grid(f"{value:,.10g}", scale.at(value)) for value in ticks(0, highest, 3)),
        *(element("g", *_column(view, column, span, scale)) for column in view.columns),
    )


def _column(view: View, column: Column, span: Span, scale: Span) -> Iterator[Safe]:
    left = max(span.start, span.at(column.start))
    right = min(span.end, span.at(column.start + view.width))
    told = [f"{column.start:.3g} s"]
    base = 0.0
    pieces = [(version, colour(view, version)) for version in view.versions if column.answered.get(version)]
    counts = [(version_name(version), kind, column.answered[version]) for version, kind in pieces]
    if column.failed:
        counts.append(("failed", "bad", column.failed))
    for name, kind, count in counts:
        told.append(f"{name}: {count}")
        rate = count / view.width
        low, high = scale.at(base), scale.at(base + rate)
        base += rate
        yield element(
            "rect",
            x=left,
            y=high,
            width=max(0.5, right - left - 0.6),
            height=low - high,
            class_=f"fill {kind}",
        )
    yield element("title", ", ".join(told))


# -- latencies ------------------------------------------------------------------------------------


def _latencies(view: View, span: Span, place: Span) -> Safe:
    values = [one.latency for one in view.dots]
    low = _rounded_down(max(min(values), _LEAST))
    high = max(max(values) * 1.25, low * 10)
    scale = Span(math.log10(low), math.log10(high), place.start, place.end)
    return join(
        _title("latency from the intended send time, every request a dot", place),
        *(_grid(_latency(value), scale.at(math.log10(value))) for value in decades(low, high)),
        *(_dots(view, version, span, scale) for version in view.versions),
        *(_line(view, percent, span, scale) for percent in (50.0, 99.0)),
        *_crosses(view, span, place.end),
    )


def _latency(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"


def _line(view: View, percent: float, span: Span, scale: Span) -> Safe:
    places = [(span.at(x), scale.at(math.log10(max(y, _LEAST)))) for x, y in view.line(percent)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element("polyline", points=points, class_=f"line p{percent:g}")


def _dots(view: View, version: str, span: Span, scale: Span) -> Safe:
    start = view.result.timeline.start
    cells = {
        (
            round(span.at(one.intended - start) / _CELL),
            round(scale.at(math.log10(max(one.latency, _LEAST))) / _CELL),
        )
        for one in view.dots
        if one.version == version
    }
    path = "".join(f"M{x * _CELL:g} {y * _CELL:g}h0" for x, y in sorted(cells))
    return element("path", d=path, class_=f"dots {colour(view, version)}")


def _crosses(view: View, span: Span, y: float) -> Iterator[Safe]:
    """Failed requests have no latency: they stand at the upper edge, when they were known."""
    start = view.result.timeline.start
    seen: dict[int, list[str]] = {}
    for one in view.failures:
        seen.setdefault(round(span.at(one.at - start) / 4) * 4, []).append(f"{one.kind}: {one.detail}")
    for x, told in seen.items():
        more = f" and {len(told) - 1} more" if len(told) > 1 else ""
        yield element(
            "path", element("title", told[0] + more), d=f"M{x - 4} {y - 4:g}l8 8m0 -8l-8 8", class_="cross"
        )


# -- long requests --------------------------------------------------------------------------------


def _rows(view: View) -> int:
    return max((row for row, _ in _in_rows(view)), default=0) + 1


def _in_rows(view: View) -> Iterator[tuple[int, int]]:
    """The row of each bar: the first that is free again."""
    ends: list[float] = []
    for number, bar in enumerate(view.bars):
        row = next((row for row, end in enumerate(ends) if end <= bar.start + 1e-9), len(ends))
        ends[row : row + 1] = [bar.end]
        yield row, number


def _long(view: View, span: Span, place: Span) -> Safe:
    parts = [_title("long requests, from sent to answered", place)]
    for row, number in _in_rows(view):
        bar = view.bars[number]
        start, end = max(span.start, span.at(bar.start)), min(span.end, span.at(bar.end))
        told = f"{bar.lane}, {seconds(bar.end - bar.start)}, {bar.failed or version_name(bar.version)}"
        kind = "bad" if bar.failed else colour(view, bar.version)
        parts.append(
            element(
                "rect",
                element("title", told),
                x=start,
                y=place.end + row * _BAR,
                rx=2,
                width=max(1.0, end - start - 1),
                height=_BAR - 2,
                class_=f"fill {kind}",
            )
        )
    return join(*parts)


# -- axes -----------------------------------------------------------------------------------------


def _title(text: str, place: Span) -> Safe:
    return element("text", text, x=_LEFT, y=place.end - 9, class_="panel")


def _grid(text: str, y: float) -> Safe:
    line = element("path", d=f"M{_LEFT} {y:.1f}H{_RIGHT}", class_="grid")
    return join(line, element("text", text, x=_LEFT - 6, y=y + 4, text_anchor="end", class_="tick"))


def _time_axis(view: View, span: Span, y: float) -> Safe:
    parts = [element("path", d=f"M{_LEFT} {y + 4:.1f}H{_RIGHT}", class_="axis")]
    for value in ticks(view.low, view.high, 10):
        x, label = span.at(value), f"{value:.6g} s"
        parts.append(element("path", d=f"M{x:.1f} {y + 4:.1f}v4", class_="axis"))
        fits = x + len(label) * _LETTER / 2 <= _WIDTH
        anchor, place = ("middle", x) if fits else ("end", _WIDTH)
        parts.append(element("text", label, x=place, y=y + 22, text_anchor=anchor, class_="tick"))
    return join(*parts)


def _rounded_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value * 1.000001)
