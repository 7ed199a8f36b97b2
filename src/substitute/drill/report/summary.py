"""A result as lines of text."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from substitute.console.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Paint = Callable[[str, str], str]

_COMMIT = re.compile("[0-9a-f]{40}")
_SLOT = re.compile("slot [a-z]")
"""What is told where the app names no version."""
_SHOWN = 10
_FIGURES = ("p50", "p95", "p99", "p99.9", "max")
_LAG = 0.05
"""Seconds; a generator that was later than this has made the latencies worse itself."""


def lines(document: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """Yield what a person wants to know of a drill's document, the worst last."""
    yield ""
    yield paint(f"{'':<8}{'requests':>10}{'failed':>8}" + "".join(f"{name:>11}" for name in _FIGURES), "dim")
    for part, row in document["latency"].items():
        figures = "".join(f"{milliseconds(row[name]):>11}" for name in _FIGURES)
        yield paint(f"{part:<8}{row['requests'] + row['failed']:>10,}{row['failed']:>8,}{figures}", "")
    yield ""
    if versions := _versions(document["versions"]):
        yield f"answers  {versions}"
    for name, lane in document["lanes"].items():
        yield f"{name}: " + ", ".join(f"{number:,} {what}" for what, number in lane.items())
    if lag := lateness(document):
        yield lag
    yield from _failures(document["failures"], paint)
    yield verdict(document, paint)


def lateness(document: Mapping[str, Any]) -> str:
    """Say that the generator itself was late, where it was so late that it matters."""
    lag = document["client"]["lag"]
    if lag <= _LAG:
        return ""
    late = milliseconds(lag)
    return (
        f"The load generator itself was late by up to {late}: the machine was busy; latencies include that."
    )


def verdict(document: Mapping[str, Any], paint: Paint) -> str:
    """Return the one line that matters."""
    failed, requests = document["failed"], document["requests"]
    told = f"{failed:,} of {count_of(requests)} failed"
    operation = document["operation"]
    about = f"{operation} {document['outcome']}" if operation else "baseline, no operation"
    if not document["complete"]:
        told += "; the load ended early, so this is not the whole truth"
    return paint(f"{told} ({about})", "green" if document["exit"] == 0 else "red")


def count_of(requests: int) -> str:
    """``12,345 requests``."""
    return f"{requests:,} request{'' if requests == 1 else 's'}"


def milliseconds(seconds: float | None) -> str:
    """``0.42 ms``, ``12.3 ms``, ``1,204 ms``."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def version_name(version: str) -> str:
    """The name that a version goes by; an app need not say one."""
    if not version:
        return "a version that does not say"
    if _SLOT.fullmatch(version):
        return version
    return f"version {version[:10] if _COMMIT.fullmatch(version) else version}"


def _versions(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} by {harmless(version_name(name))}" for name, number in versions.items())


def _failures(failures: list[dict[str, Any]], paint: Paint) -> Iterator[str]:
    if not failures:
        return
    kinds = Counter((failure["phase"], failure["kind"]) for failure in failures)
    for (phase, kind), number in kinds.most_common():
        yield paint(f"failed in {phase}: {number:,} {kind}", "red")
    for failure in failures[:_SHOWN]:
        before = f", before: {version_name(failure['version'])}" if failure["version"] else ""
        text = f"  {failure['at']:.3f}s {failure['lane']}: {failure['kind']}, {failure['detail']}{before}"
        yield harmless(text)
    if len(failures) > _SHOWN:
        yield f"  and {len(failures) - _SHOWN:,} more; --json and --report have them all"
