"""What ``check`` saw, as a table or a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.console.text import count, harmless, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from substitute.core.model.events import Checked
    from substitute.core.model.findings import Finding

_STYLES = {True: "green", False: "red", None: "yellow"}


def check_lines(
    document: Mapping[str, Any], paint: Callable[[str, str], str], *, marks: tuple[str, str, str]
) -> Iterator[str]:
    """Yield the lines of ``substitute check`` for its document; `marks` stand for good, bad, and not proven."""
    findings = document["checks"]
    width = max(len(finding["promise"]) for finding in findings)
    for finding in findings:
        passed = finding["passed"]
        mark = dict(zip((True, False, None), marks, strict=True))[passed]
        yield f"{paint(mark, _STYLES[passed])} {finding['promise']:<{width}}  {harmless(finding['seen'])}"
        if finding["cure"]:
            lead = "cure" if passed is False else "to prove it"
            yield f"    {lead}: {paint(harmless(finding['cure']), 'bold')}"
    yield paint(_sum(document), _STYLES[document["passed"]])


def _sum(document: Mapping[str, Any]) -> str:
    bad = [finding for finding in document["checks"] if finding["passed"] is False]
    unproven = [finding["promise"] for finding in document["checks"] if finding["passed"] is None]
    told = [f"{count(len(bad), 'problem')} to fix"] if bad else []
    if unproven:
        told.append(f"not proven that {' and that '.join(unproven)}")
    good = f"takes {document['signal']} as it should"
    what = f"{document['app']} {short(document['commit'])}: {', and '.join(told) or good}"
    serves = f"slot {document['live']} serves as before" if document["live"] else "nothing serves, as before"
    return f"{what}; {serves}"


def check_document(checked: Checked) -> dict[str, Any]:
    """Return the ``check --json`` document; ``passed`` is null where it is not proven, of a check and of all."""
    report = checked.report
    return {
        "app": checked.app,
        "slot": checked.slot,
        "commit": checked.commit,
        "live": checked.live,
        "platform": report.platform or None,
        "signal": report.signal,
        "result": report.result,
        "passed": {"passed": True, "failed": False}.get(report.result),
        "checks": [_plain(finding) for finding in report.findings],
    }


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "promise": finding.promise,
        "passed": finding.passed,
        "seen": finding.seen,
        "cure": finding.cure or None,
    }
