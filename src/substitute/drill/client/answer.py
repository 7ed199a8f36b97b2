"""HTTP/1.1 answers, read strictly and as they come; no socket in here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.configuration import SLOT_HEADER
from substitute.drill.failures import FailedError, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_LIMIT = 65536
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_TO_THE_END = -1


@dataclass(frozen=True)
class Head:
    """What the first lines of an answer say."""

    status: int
    length: int
    """Bytes of the body; -1: until the connection is closed."""
    chunked: bool
    last: bool
    """The server closes the connection after this answer."""
    headers: dict[str, str]

    def version(self, header: str) -> str:
        """What the app calls itself in `header`, in lower case; else the slot that HAProxy names; else empty."""
        slot = self.headers.get(SLOT_HEADER.lower())
        return self.headers.get(header) or (f"slot {slot}" if slot else "")


@lru_cache(maxsize=512)  # a server's heads differ by little more than the second in their Date
def read_head(data: bytes, *, bodiless: bool) -> Head:
    """Read a head without its empty line. Raises FailedError where it is no HTTP/1.1.

    `bodiless` is true for the answer to HEAD.
    """
    first, *lines = data.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if not match:
        raise FailedError(Kind.BODY, f"no HTTP: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise FailedError(Kind.BODY, f"no header: {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    status = int(match[2])
    connection = headers.get("connection", "").lower()
    chunked = headers.get("transfer-encoding", "").lower().endswith("chunked")
    length = 0 if bodiless or status in {204, 304} or status < 200 else _length(headers, chunked=chunked)
    return Head(
        status=status,
        length=length,
        chunked=chunked and length == _TO_THE_END,
        last="close" in connection or (match[1] == b"0" and "keep-alive" not in connection),
        headers=headers,
    )


def _length(headers: dict[str, str], *, chunked: bool) -> int:
    if chunked or "content-length" not in headers:
        return _TO_THE_END
    text = headers["content-length"]
    if not text.isascii() or not text.isdigit():
        raise FailedError(Kind.BODY, f"Content-Length: {text[:80]!r}")
    return int(text)


class Answer:
    """One answer, from its first byte to its last. `feed` and `end` raise FailedError for what is wrong.

    `body` takes the body piece by piece; None lets it pass.
    """

    def __init__(self, body: Callable[[bytes], object] | None = None, *, bodiless: bool = False) -> None:
        self.head: Head | None = None
        self._body = body
        self._bodiless = bodiless
        self._buffer = b""
        self._left = 0
        self._in_chunk = False
        self._trailers = False
        self._received = 0

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the answer is now whole. More than that is a failure."""
        self._received += len(data)
        self._buffer = self._buffer + data if self._buffer else data
        while self.head is None:
            if not self._begin():
                return False
        if self.head.chunked:
            return self._chunks()
        if self.head.length == _TO_THE_END:
            self._give(self._buffer)
            self._buffer = b""
            return False
        self._left -= self._take(self._left)
        if self._left == 0 and self._buffer:
            raise FailedError(Kind.BODY, f"{len(self._buffer)} bytes after the end of the answer")
        return self._left == 0

    def end(self) -> None:
        """The connection was closed: fine only where that is what ends the answer."""
        if self.head is None or self.head.chunked or self.head.length != _TO_THE_END:
            raise FailedError(Kind.CLOSED, f"closed after {self._received} bytes of the answer")

    def _begin(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > _HEAD_LIMIT or (len(head) >= 5 and not head.startswith(b"HTTP/")):
                raise FailedError(Kind.BODY, f"no HTTP: {head[:80]!r}")
            return False
        found = read_head(head, bodiless=self._bodiless)
        self._buffer = rest
        if found.status >= 200 or found.status == 101:  # 100 and 103 come before the real one
            self.head = found
            self._left = max(0, found.length)
        return self.head is not None or bool(rest)

    def _take(self, most: int) -> int:
        data = self._buffer[:most] if len(self._buffer) > most else self._buffer
        self._buffer = self._buffer[len(data) :]
        self._give(data)
        return len(data)

    def _give(self, data: bytes) -> None:
        if self._body and data:
            self._body(data)

    def _chunks(self) -> bool:
        while True:
            if self._left:
                self._left -= self._take(self._left)
                if self._left:
                    return False
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return False
            self._buffer = rest
            if self._trailers and not line:
                if rest:
                    raise FailedError(Kind.BODY, f"{len(rest)} bytes after the end of the answer")
                return True
            if not self._trailers:
                self._chunk_line(line)

    def _chunk_line(self, line: bytes) -> None:
        if self._in_chunk:
            if line:
                raise FailedError(Kind.BODY, f"a chunk is longer than it says: {line[:80]!r}")
            self._in_chunk = False
            return
        size = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            raise FailedError(Kind.BODY, f"no chunk size: {line[:80]!r}")
        self._left = int(size, 16)
        self._in_chunk = self._left > 0
        self._trailers = self._left == 0
