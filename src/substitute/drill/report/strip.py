"""The phases of an operation on an axis of time, named even where they are too short to hold their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from substitute.console.text import seconds
from substitute.core.model.slots import Phase
from substitute.drill.report.markup import Safe, element, join
from substitute.drill.result.timeline import AROUND

if TYPE_CHECKING:
    from substitute.drill.report.scale import Span
    from substitute.drill.report.view import Piece, View

_ROW, _STRIP = 15, 22
_LETTER = 6.1
"""The width of a letter, on the average; nothing here can measure text."""
_WIDTH = 1000
"""Of the picture."""


class _Label(NamedTuple):
    """The name of a phase above the strip, beside its pole at `x`."""

    x: float
    left: float
    row: int
    turned: bool
    piece: Piece


def strip(view: View, span: Span, *, tiny: bool) -> tuple[Safe, float]:
    """The strip of phases: names stand in it where they fit, else above it on poles; and where it ends."""
    inside, above = [], []
    for one in view.stretches:
        wide = span.at(one.end) - span.at(one.start)
        if wide > len(_label(one)) * _LETTER + 6:
            inside.append(one)
        elif tiny or wide >= 1.5:
            above.append(one)
    # From right to left, each on a row above all that its text would run into: no pole crosses a text, but one that
    # stands left of its pole, since there is no room to the right.
    placed: list[_Label] = []
    for one in reversed(above):
        x, wide = (span.at(one.start) + span.at(one.end)) / 2, len(_label(one)) * _LETTER + 8
        turned = x + wide > _WIDTH
        left, reach = (x - wide, x + 8) if turned else (x, x + wide)
        row = 1 + max((other.row for other in placed if other.left < reach), default=-1)
        placed.append(_Label(x, left, row, turned, one))
    top = _ROW * (1 + max((label.row for label in placed), default=-1)) + 4.0
    parts = [_piece(one, span, top, number) for number, one in enumerate(view.stretches)]
    for one in inside:
        middle = (span.at(one.start) + span.at(one.end)) / 2
        parts.append(element("text", _label(one), x=middle, y=top + 15, text_anchor="middle", class_="phase"))
    poles, texts = [], []
    for label in placed:
        y = top - label.row * _ROW - 4
        poles.append(element("path", d=f"M{label.x:.1f} {top:.1f}V{y - 8:.1f}", class_="pole"))
        x, anchor = (label.x - 3, "end") if label.turned else (label.x + 3, "start")
        texts.append(element("text", _label(label.piece), x=x, y=y, text_anchor=anchor, class_="phase apart"))
    return join(*parts, *poles, *texts), top + _STRIP


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
