from __future__ import annotations

import io
import json

from substitute.console import Console
from substitute.core.model.events import Checked
from substitute.core.model.findings import Finding, ShutdownReport
from substitute.core.model.slots import SlotName

FINDINGS = (
    Finding("signal", "SIGTERM arrives", passed=True, seen="node (pid 7) listens itself"),
    Finding(
        "finish", "a request is answered", passed=False, seen="it was \x1b[31mreset", cure="server.close()"
    ),
    Finding("idle", "idle ones are closed", passed=None, seen="not proven: no HTTP"),
)
UNPROVEN = (
    FINDINGS[0],
    Finding("finish", "a request is answered", passed=None, seen="not proven: at once", cure="--slow /PATH"),
    FINDINGS[2],
)


def printed(
    findings: tuple[Finding, ...] = FINDINGS, *, as_json: bool = False, encoding: str = "utf-8"
) -> str:
    checked = Checked("shop", SlotName.B, "b" * 40, SlotName.A, ShutdownReport("node", findings))
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    Console(json=as_json, out=out).checked(checked)
    return raw.getvalue().decode(encoding)


def test_a_check_is_a_table_with_a_cure_under_what_is_wrong() -> None:
    assert printed().splitlines() == [
        "✓ SIGTERM arrives        node (pid 7) listens itself",
        "✗ a request is answered  it was reset",
        "    cure: server.close()",
        "- idle ones are closed   not proven: no HTTP",
        "shop bbbbbbbbbb: 1 problem to fix, and not proven that idle ones are closed; slot a serves as before",
    ]


def test_what_is_not_proven_does_not_read_as_proven_and_comes_with_what_proves_it() -> None:
    assert printed(UNPROVEN).splitlines()[1:] == [
        "- a request is answered  not proven: at once",
        "    to prove it: --slow /PATH",
        "- idle ones are closed   not proven: no HTTP",
        "shop bbbbbbbbbb: not proven that a request is answered and that idle ones are closed; slot a serves as before",
    ]
    document = json.loads(printed(UNPROVEN, as_json=True))
    assert (document["result"], document["passed"]) == ("not proven", None)
    assert document["checks"][1]["cure"] == "--slow /PATH"


def test_only_what_is_all_proven_passes() -> None:
    assert "takes SIGTERM as it should" in printed(FINDINGS[:1])
    document = json.loads(printed(FINDINGS[:1], as_json=True))
    assert (document["result"], document["passed"]) == ("passed", True)


def test_where_the_marks_cannot_be_shown_others_are() -> None:
    assert [line[0] for line in printed(encoding="ascii").splitlines()[:2]] == ["+", "x"]


def test_the_check_document_has_null_for_what_is_not_proven() -> None:
    document = json.loads(printed(as_json=True))
    assert (document["passed"], document["platform"], document["live"]) == (False, "node", "a")
    assert document["result"] == "failed"
    assert [one["passed"] for one in document["checks"]] == [True, False, None]
    assert [one["cure"] for one in document["checks"]] == [None, "server.close()", None]
