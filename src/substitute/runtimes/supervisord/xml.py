"""XML-RPC as supervisord speaks it. Python's own module imports HTTP, e-mail and TLS with it, for 25 ms."""

from __future__ import annotations

import pyexpat as expat  # as `xml.parsers.expat` has it, which is four modules
from typing import Any

from substitute.runtimes.supervisord.refusals import Fault

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render_call(method: str, arguments: tuple[str | bool, ...]) -> bytes:
    """The body of a call."""
    values = "".join(f"<param><value>{_render(argument)}</value></param>" for argument in arguments)
    text = f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>"
    return f"<?xml version='1.0'?>{text}".encode()


def _render(value: str | bool) -> str:  # noqa: FBT001  # a value, no switch
    if isinstance(value, bool):
        return f"<boolean>{int(value)}</boolean>"
    return f"<string>{''.join(_ESCAPED.get(char, char) for char in value)}</string>"


def parse_answer(body: bytes) -> Any:
    """What a call returned. Raises Fault where it was refused, and ValueError for what is no answer."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.say
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(body, True)  # noqa: FBT003
        value = reader.stack[0]
    except (expat.ExpatError, KeyError, IndexError) as error:
        raise ValueError(f"no answer of supervisord's: {body[:80]!r}") from error
    if reader.refused:
        raise Fault(value["faultCode"], value["faultString"])
    return value


class _Reader:
    """Builds the value: `stack` has what is open, and at the end the value alone."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.refused = False
        self._text = ""
        self._opened: list[int] = []
        self._is_text = False

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._text = ""
        self._is_text = tag == "value"
        self.refused = self.refused or tag == "fault"
        if tag in {"struct", "array"}:
            self._opened.append(len(self.stack))

    def say(self, text: str) -> None:
        self._text += text

    def end(self, tag: str) -> None:
        if tag in {"string", "name"} or (tag == "value" and self._is_text):  # a value of no type is a string
            self.stack.append(self._text)
        elif tag in {"int", "i4"}:
            self.stack.append(int(self._text))
        elif tag == "boolean":
            self.stack.append(self._text == "1")
        elif tag in {"struct", "array"}:
            begin = self._opened.pop()
            inner = self.stack[begin:]
            self.stack[begin:] = [
                inner if tag == "array" else dict(zip(inner[::2], inner[1::2], strict=True))
            ]
        self._is_text = False
