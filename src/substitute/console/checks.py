"""What ``check`` saw, as a table or a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.console.text import count, harmless, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.events import Checked
    from substitute.core.findings import Finding

_STYLES = {True: "green", False: "red", None: "yellow"}


def check_lines(
    checked: Checked, paint: Callable[[str, str], str], *, marks: tuple[str, str, str]
) -> Iterator[str]:
    """Yield the lines of ``substitute check``; `marks` stand for good, bad, and not tested."""
    findings = checked.manners.findings
    width = max(len(finding.promise) for finding in findings)
    for finding in findings:
        mark = dict(zip((True, False, None), marks, strict=True))[finding.passed]
        yield f"{paint(mark, _STYLES[finding.passed])} {finding.promise:<{width}}  {harmless(finding.seen)}"
        if finding.cure:
            yield f"    cure: {paint(harmless(finding.cure), 'bold')}"
    yield paint(_sum(checked), "green" if checked.manners.passed else "red")


def _sum(checked: Checked) -> str:
    what = f"{checked.app} {short(checked.commit)}"
    bad = [finding for finding in checked.manners.findings if finding.passed is False]
    untested = [finding for finding in checked.manners.findings if finding.passed is None]
    told = f"{count(len(bad), 'thing')} to mend" if bad else "takes SIGTERM as it should"
    if untested:
        told += f" ({len(untested)} not tested)"
    serves = f"slot {checked.live} serves as before" if checked.live else "nothing serves, as before"
    return f"{what}: {told}; {serves}"


def check_document(checked: Checked) -> dict[str, Any]:
    """Return the ``check --json`` document; ``passed`` of a check is null where it could not be tested."""
    return {
        "app": checked.app,
        "slot": checked.slot,
        "commit": checked.commit,
        "live": checked.live,
        "platform": checked.manners.platform or None,
        "passed": checked.manners.passed,
        "checks": [_plain(finding) for finding in checked.manners.findings],
    }


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "promise": finding.promise,
        "passed": finding.passed,
        "seen": finding.seen,
        "cure": finding.cure or None,
    }
