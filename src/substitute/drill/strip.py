"""The phases of an operation on an axis of time, named even where they are too short to hold their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.console.text import seconds
from substitute.core.slots import Phase
from substitute.drill.markup import Safe, element, join
from substitute.drill.timeline import AROUND

if TYPE_CHECKING:
    from substitute.drill.scale import Span
    from substitute.drill.view import Piece, View

_ROW, _STRIP = 15, 22
_LETTER = 6.1
"""The width of a letter, on the average; nothing here can measure text."""


def strip(view: View, span: Span, *, tiny: bool) -> tuple[Safe, float]:
    """The strip of phases: names stand in it where they fit, else above it on poles; and where it ends."""
    inside, above = [], []
    for one in view.stretches:
        wide = span.at(one.end) - span.at(one.start)
        if wide > len(_label(one)) * _LETTER + 6:
            inside.append(one)
        elif tiny or wide >= 1.5:
            above.append(one)
    # From right to left, each on a row above all that its text would run into: no pole crosses a text.
    placed: list[tuple[float, int, Piece]] = []
    for one in reversed(above):
        x = (span.at(one.start) + span.at(one.end)) / 2
        reach = x + len(_label(one)) * _LETTER + 8
        row = 1 + max((row for other, row, _ in placed if other < reach), default=-1)
        placed.append((x, row, one))
    top = _ROW * (1 + max((row for _, row, _ in placed), default=-1)) + 4.0
    parts = [_piece(one, span, top, number) for number, one in enumerate(view.stretches)]
    for one in inside:
        middle = (span.at(one.start) + span.at(one.end)) / 2
        parts.append(element("text", _label(one), x=middle, y=top + 15, text_anchor="middle", class_="phase"))
    for x, row, one in placed:
        y = top - row * _ROW - 4
        parts.append(element("path", d=f"M{x:.1f} {top:.1f}V{y - 8:.1f}", class_="pole"))
        parts.append(element("text", _label(one), x=x + 3, y=y, class_="phase"))
    return join(*parts), top + _STRIP


def _piece(one: Piece, span: Span, top: float, number: int) -> Safe:
    start, end = span.at(one.start), span.at(one.end)
    kind = "rest" if one.name in AROUND else "odd" if number % 2 else "even"
    return element(
        "rect", element("title", _label(one)), x=start, y=top, width=max(0.8, end - start), height=_STRIP,
        class_=f"strip {kind}",
    )  # fmt: skip


def _label(one: Piece) -> str:
    return one.name if one.name in AROUND else f"{one.name} {seconds(one.seconds)}"


def shade(view: View, span: Span, top: float, bottom: float) -> Safe:
    """The time of the operation, behind everything, and the moment from which the new version is asked."""
    inner = [one for one in view.stretches if one.name not in AROUND]
    if not inner:
        return Safe()
    start, end = span.at(inner[0].start), span.at(inner[-1].end)
    grey = element("rect", x=start, y=top, width=max(1.0, end - start), height=bottom - top, class_="shade")
    admitted = [
        element("path", d=f"M{span.at(one.start):.1f} {top:.1f}V{bottom:.1f}", class_="admitted")
        for one in inner
        if one.name == Phase.ADMIT and one.start > view.low
    ]
    return join(grey, *admitted)
