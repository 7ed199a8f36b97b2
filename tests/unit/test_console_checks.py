from __future__ import annotations

import io
import json

from substitute.console import Console
from substitute.core.events import Checked
from substitute.core.findings import Finding, Manners
from substitute.core.slots import SlotName

FINDINGS = (
    Finding("signal", "SIGTERM arrives", passed=True, seen="node (pid 7) listens itself"),
    Finding(
        "finish", "a request is answered", passed=False, seen="it was \x1b[31mreset", cure="server.close()"
    ),
    Finding("idle", "idle ones are closed", passed=None, seen="not tested: no HTTP"),
)
CHECKED = Checked("shop", SlotName.B, "b" * 40, SlotName.A, Manners("node", FINDINGS))


def printed(*, as_json: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    Console(json=as_json, out=out).checked(CHECKED)
    return raw.getvalue().decode(encoding)


def test_a_check_is_a_table_with_a_cure_under_what_is_wrong() -> None:
    assert printed().splitlines() == [
        "✓ SIGTERM arrives        node (pid 7) listens itself",
        "✗ a request is answered  it was reset",
        "    cure: server.close()",
        "- idle ones are closed   not tested: no HTTP",
        "shop bbbbbbbbbb: 1 thing to mend (1 not tested); slot a serves as before",
    ]


def test_where_the_marks_cannot_be_shown_others_are() -> None:
    assert [line[0] for line in printed(encoding="ascii").splitlines()[:2]] == ["+", "x"]


def test_the_check_document_has_null_for_what_was_not_tested() -> None:
    document = json.loads(printed(as_json=True))
    assert (document["passed"], document["platform"], document["live"]) == (False, "node", "a")
    assert [one["passed"] for one in document["checks"]] == [True, False, None]
    assert [one["cure"] for one in document["checks"]] == [None, "server.close()", None]
