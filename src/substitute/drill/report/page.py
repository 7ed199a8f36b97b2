"""A drill as one page that can be sent to anybody: nothing is loaded from anywhere, nothing runs."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from substitute import __version__
from substitute.console.text import seconds, short
from substitute.drill.report.figure import colour, figure
from substitute.drill.report.markup import Safe, element
from substitute.drill.report.summary import count_of, lateness, milliseconds, version_name
from substitute.drill.report.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from substitute.drill.result.result import Result

_LISTED = 5000
"""Rows of failures; a page of more can hardly be opened."""
_FIGURES = ("p50", "p95", "p99", "p99.9", "max")
_SWITCH = ("admit", "verify", "commit", "drain", "stop")
_CLOSEST = (_SWITCH, _SWITCH[:3], _SWITCH[:1])
"""What the second figure shows: as much of the switch as is short beside the whole drill. A drain may take minutes."""
_BESIDE = 0.35
"""What the second figure shows beside the switch, as a share of its length, to either side."""


def page(result: Result) -> str:
    """Return the page."""
    document = result.document()
    whole = View(result, 0.0, max(result.seconds, 0.001))
    close = _close_view(result)
    title = f"{_headline(document)}: {_what(document)}"
    body = element(
        "body",
        _header(document, result.started),
        _tiles(document),
        _picture("The whole drill", whole, tiny=close is None),
        _picture("The switch, closer", close, tiny=True) if close else Safe(),
        element("div", _latency(document), _traffic(document), class_="pair"),
        _failures(document),
        _reading(),
        _footer(document),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Safe((files("substitute.drill.report") / "page.css").read_text(encoding="utf-8"))),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _headline(document: Mapping[str, Any]) -> str:
    return f"{document['failed']:,} of {count_of(document['requests'])} failed"


def _what(document: Mapping[str, Any]) -> str:
    return f"{document['operation'] or 'a baseline'} of {document['app']}"


def _header(document: Mapping[str, Any], started: float) -> Safe:
    failed, outcome = document["failed"], document["outcome"]
    chips = [
        element(
            "span",
            "requests failed" if failed else "no request failed",
            class_=f"chip {'wrong' if failed else 'good'}",
        )
    ]
    if outcome:
        kind = {"succeeded": "good", "failed": "wrong"}.get(outcome, "warned")
        chips.append(element("span", f"{document['operation'].split()[0]} {outcome}", class_=f"chip {kind}"))
    else:
        chips.append(element("span", "baseline: no operation", class_="chip warned"))
    if not document["complete"]:
        chips.append(element("span", "the load ended early: not the whole truth", class_="chip wrong"))
    when = datetime.fromtimestamp(started, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
    facts = [document["app"], document["operation"] or "load only"]
    if document["commit"]:
        facts.append(f"commit {short(document['commit'])}")
    if document["deployment"]:
        facts.append(f"deployment {document['deployment']}")
    reason = [element("pre", document["reason"])] if document["reason"] else []
    return element(
        "header", *chips, element("h1", _headline(document)),
        element("p", " · ".join([*facts, when]), class_="soft"), *reason,
    )  # fmt: skip


def _tiles(document: Mapping[str, Any]) -> Safe:
    latency = document["latency"]
    during = latency.get("during") or latency["all"]
    before = latency.get("before") or latency["all"]
    tiles = [
        (f"{document['requests']:,}", f"requests in {seconds(document['seconds'])}"),
        (f"{document['failed']:,}", "failed of them"),
        (milliseconds(during["p99"]), f"99th percentile during; {milliseconds(before['p99'])} before"),
        (milliseconds(during["max"]), f"slowest during; {milliseconds(before['max'])} before"),
    ]
    if "during" not in latency:
        tiles[2:] = [
            (milliseconds(during["p99"]), "99th percentile"),
            (milliseconds(during["max"]), "slowest"),
        ]
    alarm = "tile alarm" if document["failed"] else "tile"
    kinds = ["tile", alarm, "tile", "tile"]
    boxes = [
        element("div", element("b", big), element("span", small), class_=kind)
        for kind, (big, small) in zip(kinds, tiles, strict=True)
    ]
    return element("div", *boxes, class_="tiles")


def _close_view(result: Result) -> View | None:
    """The switch, or as much of it from its first moment on as the whole picture shows small."""
    start = result.timeline.start
    for names in _CLOSEST:
        inner = [one for one in result.timeline.stretches() if one.name in names]
        if not inner:
            return None
        first, last = inner[0].start - start, inner[-1].end - start
        margin = max(0.15, (last - first) * _BESIDE)
        view = View(result, max(0.0, first - margin), min(result.seconds, last + margin))
        if view.high - view.low < result.seconds / 2:
            return view
    return None


def _picture(title: str, view: View, *, tiny: bool) -> Safe:
    legend = [
        element("span", element("i", class_=f"fill {colour(view, name)}"), version_name(name))
        for name in view.versions
    ]
    if view.result.failed:
        legend.append(element("span", element("i", class_="bad"), "failed"))
    legend.append(element("span", element("i", class_="stroke"), "median"))
    legend.append(element("span", element("i", class_="stroke dashed"), "99th percentile"))
    return element(
        "section",
        element("h2", title),
        element("div", *legend, class_="legend"),
        element("div", figure(view, tiny=tiny), class_="wide"),
    )


def _latency(document: Mapping[str, Any]) -> Safe:
    rows = [
        [part, f"{row['requests'] + row['failed']:,}", *(milliseconds(row[name]) for name in _FIGURES)]
        for part, row in document["latency"].items()
    ]
    note = "From when a request was meant to be sent to the last byte of its answer."
    if lag := lateness(document):
        note += f" {lag}"
    return _card("Latency", note, element("div", _table(["", "requests", *_FIGURES], rows), class_="wide"))


def _traffic(document: Mapping[str, Any]) -> Safe:
    rows = [
        [name, f"{lane['requests']:,}", f"{lane['failed']:,}", _more(lane)]
        for name, lane in document["lanes"].items()
    ]
    rows += [
        [f"answered by {version_name(name)}", f"{number:,}", "", ""]
        for name, number in document["versions"].items()
    ]
    load = document["load"]
    pace = f"{load['rate']:g} a second on {load['connections']} connections"
    note = f"{load['method']} {load['url']}, {pace}, none sent twice."
    table = _table(["", "requests", "failed", ""], rows, text=[3])
    return _card("Traffic", note, element("div", table, class_="wide"))


def _more(lane: Mapping[str, int]) -> str:
    return ", ".join(
        f"{number:,} {what}" for what, number in lane.items() if what not in {"requests", "failed"}
    )


def _failures(document: Mapping[str, Any]) -> Safe:
    found = document["failures"]
    if not found:
        return _card("Failures", "None.", Safe())
    heads = ["at", "phase", "kind", "what was seen", "traffic", "version", "meant to be sent"]
    rows = [
        [
            f"{one['at']:.3f} s", one["phase"], one["kind"], one["detail"], one["lane"],
            version_name(one["version"] or "") if one["version"] else "-", f"{one['sent']:.3f} s",
        ]
        for one in found[:_LISTED]
    ]  # fmt: skip
    more = len(found) - _LISTED
    note = (
        f"The first {_LISTED:,} of {len(found):,}; the JSON document has all." if more > 0 else "Every one."
    )
    return _card("Failures", note, element("div", _table(heads, rows, text=range(1, 6)), class_="wide"))


def _reading() -> Safe:
    text = (
        "Each request has a moment at which it is meant to be sent, whatever became of the ones before it, and its "
        "latency counts from there: a server that stalls for a second shows up in every request of that second. "
        "Connections are kept alive and a request is never sent a second time, so what browsers and libraries hide "
        "is counted: refused, reset and early closed connections, timeouts, statuses of 400 and above, wrong bodies. "
        "Grey marks the time of the operation; its phases stand above it. A colour is a version that the app names in "
        "its answers, else the slot that HAProxy names."
    )
    return element("section", element("h2", "How to read this"), element("p", text, class_="note"))


def _footer(document: Mapping[str, Any]) -> Safe:
    lag = milliseconds(document["client"]["lag"])
    idle = document["client"]["idle_closed"]
    text = (
        f"Made by substitute {__version__}: substitute drill {document['operation'] or ''}".rstrip()
        + f". The load generator itself was late by {lag} at most. "
        f"The server closed {idle:,} idle connections, as it may."
    )
    return element("footer", element("p", text))


def _card(title: str, note: str, content: Safe) -> Safe:
    return element("section", element("h2", title), element("p", note, class_="note"), content)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, text: Iterable[int] = ()) -> Safe:
    left, wrapped = {0, *text}, {3} & set(text)

    def cells(name: str, row: Sequence[str]) -> Iterator[Safe]:
        for number, cell in enumerate(row):
            kind = "text long" if number in wrapped and name == "td" else "text" if number in left else None
            yield element(name, cell, class_=kind)

    lines = [element("tr", *cells("td", row)) for row in rows]
    return element("table", element("thead", element("tr", *cells("th", heads))), element("tbody", *lines))
