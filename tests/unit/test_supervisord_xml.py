"""XML-RPC: what Python's own module writes is read, and the other way round."""

from __future__ import annotations

from xmlrpc.client import Fault as PythonsFault
from xmlrpc.client import dumps, loads

import pytest

from substitute.runtimes.supervisord.refusals import Fault
from substitute.runtimes.supervisord.xml import parse_answer, render_call

VALUES = [
    True,
    False,
    0,
    -7,
    "",
    "a",
    " <b> & 'ü' \n",
    [],
    ["", 1],
    {},
    {"name": "shop_a", "pid": 12, "description": ""},
    [{"name": "shop_a", "inner": [True, {"a": []}]}, {"name": ""}],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_read_as_it_was_written(value: object) -> None:
    written = dumps((value,), methodresponse=True)  # type: ignore[arg-type]
    assert parse_answer(written.encode()) == value
    assert parse_answer(written.replace("<string>", "").replace("</string>", "").encode()) == value


def test_a_refusal_is_raised() -> None:
    with pytest.raises(Fault) as refused:
        parse_answer(dumps(PythonsFault(10, "BAD_NAME: shop_a")).encode())
    assert (refused.value.code, refused.value.text) == (10, "BAD_NAME: shop_a")


@pytest.mark.parametrize("body", [b"", b"Not Found", b"<html/>", b"<methodResponse>", b"<fault></fault>"])
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no answer"):
        parse_answer(body)


def test_a_call_says_its_arguments() -> None:
    arguments = ("shop_a & <b>", True, False)
    assert loads(render_call("supervisor.stopProcess", arguments).decode()) == (
        arguments,
        "supervisor.stopProcess",
    )
