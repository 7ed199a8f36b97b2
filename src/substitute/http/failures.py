"""What can become of a request that is not the whole right answer. A leaf: everything else names these."""

from __future__ import annotations

import errno
from enum import StrEnum


class Kind(StrEnum):
    """How a request failed. Browsers and libraries hide some of these by asking again; nothing here does."""

    REFUSED = "refused"
    """No connection."""
    RESET = "reset"
    """The connection was reset (RST), while it was made, asked, or read."""
    CLOSED = "closed early"
    """The connection was closed (FIN) before the whole answer had come."""
    TIMEOUT = "timeout"
    """The whole answer had not come in time, counted from when the request was meant to be sent."""
    STATUS = "status"
    """Not the one that was expected."""
    SERVER_ERROR = "5xx"
    CLIENT_ERROR = "4xx"
    BODY = "wrong body"
    """Not what was expected, or no HTTP at all."""
    OURS = "client"
    """This machine ran out of ports or descriptors: says nothing about the app, and is counted all the same."""


class FailedError(Exception):
    """A request failed, in this way; `detail` is the fact seen."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


_OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}


def from_system(error: OSError, *, connected: bool) -> FailedError:
    """Say which kind of failure the system's word is."""
    number = error.errno or 0
    detail = error.strerror or str(error)
    if number in _OURS:
        return FailedError(Kind.OURS, detail)
    if number in _RESET:
        return FailedError(Kind.RESET, detail)
    if number == errno.ETIMEDOUT:
        return FailedError(Kind.TIMEOUT, detail)
    return FailedError(Kind.RESET if connected else Kind.REFUSED, detail)


def from_status(status: int) -> FailedError | None:
    """Return the failure that a status is; 1xx to 3xx are none."""
    if status < 400:
        return None
    return FailedError(Kind.SERVER_ERROR if status >= 500 else Kind.CLIENT_ERROR, f"status {status}")
