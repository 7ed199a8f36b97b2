"""HTTP/1.1 answers, read strictly and as they come; no socket in here.

h11 was measured against this: its import takes longer than a whole `status` may, an answer costs it thirty times as
much, and it takes bytes after the end of an answer for no fault.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from substitute.http.failures import FailedError, Kind
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_LIMIT = 65536
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
"""A line may end in a bare LF (RFC 9112, 2.2): hand-written servers do that, and every client and proxy takes it."""


@dataclass(frozen=True)
class Head:
    """What the first lines of an answer say."""

    status: int
    length: int
    """Bytes of the body, where that is said."""
    until_closed: bool
    """The end of the connection is the end of the body."""
    chunked: bool
    last: bool
    """The server closes the connection after this answer."""
    headers: dict[str, str]
    """Names are in lower case."""


@lru_cache(maxsize=512)  # a server's heads differ by little more than the second in their Date
def read_head(data: bytes, *, bodiless: bool) -> Head:
    """Read a head, its empty line included. Raises FailedError where it is no HTTP/1.1.

    `bodiless` is true for the answer to HEAD.
    """
    first, *lines = data.replace(b"\r\n", b"\n").removesuffix(b"\n\n").split(b"\n")
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
    empty = bodiless or status in {204, 304} or status < 200
    chunked = not empty and headers.get("transfer-encoding", "").lower().endswith("chunked")
    sized = not empty and not chunked and "content-length" in headers
    return Head(
        status=status,
        length=_number(headers["content-length"]) if sized else 0,
        until_closed=not (empty or chunked or sized),
        chunked=chunked,
        last="close" in connection or (match[1] == b"0" and "keep-alive" not in connection),
        headers=headers,
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise FailedError(Kind.BODY, f"Content-Length: {text[:80]!r}")
    return int(text)


class Answer:
    """One answer, from its first byte to its last. `feed` and `end` raise FailedError for what is wrong.

    `body` takes the body piece by piece; None lets it pass.
    """

    def __init__(self, body: Callable[[bytes], object] | None = None, *, bodiless: bool = False) -> None:
        self.head: Head | None = None
        self.whole = False
        """All of it has come. Then bytes that follow it are all that can be wrong."""
        self.received = 0
        """Bytes, up to now."""
        self._body = body
        self._bodiless = bodiless
        self._buffer = b""
        self._left = 0
        self._in_chunk = False
        self._trailers = False

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the answer is now whole. More than that is a failure."""
        self.received += len(data)
        self._buffer = self._buffer + data if self._buffer else data
        while self.head is None:
            if not self._begin():
                return False
        if self.head.chunked:
            return self._chunks()
        if self.head.until_closed:
            self._give(self._buffer)
            self._buffer = b""
            return False
        self._left -= self._take(self._left)
        return self._left == 0 and self._complete()

    def end(self) -> None:
        """The connection was closed: fine only where that is what ends the answer."""
        if self.head is None or not self.head.until_closed:
            raise FailedError(Kind.CLOSED, f"closed after {self.received} bytes of the answer")
        self.whole = True

    def _complete(self) -> bool:
        self.whole = True
        if self._buffer:
            raise FailedError(Kind.BODY, f"{len(self._buffer)} bytes after the end of the answer")
        return True

    def _begin(self) -> bool:
        data = self._buffer
        end = _EMPTY_LINE.search(data)
        if not end:
            if len(data) > _HEAD_LIMIT or (len(data) >= 5 and not data.startswith(b"HTTP/")):
                raise FailedError(Kind.BODY, f"no HTTP: {data[:80]!r}")
            return False
        found = read_head(data[: end.end()], bodiless=self._bodiless)
        self._buffer = rest = data[end.end() :]
        if found.status >= 200 or found.status == 101:  # 100 and 103 come before the real one
            self.head = found
            self._left = found.length
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
                return self._complete()
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
