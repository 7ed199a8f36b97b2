"""The log that HAProxy keeps in its memory: what its file says of it. `log_lines` reads it."""

from __future__ import annotations

from substitute.balancers.haproxy.names import CLIENT_COOKIE, RING

_SIZE = 2 << 20
"""Bytes: some 20,000 requests."""
LONGEST = 1024
"""Bytes of a line. Last comes what the client can make long, so that only this is cut."""
CHOSEN, NEW = "chosen", "new"
"""The mark of a request whose client named the version, so that it did not come there by chance; and of one whose
client has got its name with this request, and may never use it. Others have none (``-``)."""
HOST, _SCHEME = 128, 5
"""Characters that are kept of what names the host, and of ``https``."""
_FORMAT = (
    "%[date(0,ms)] %ts %ST %rc %Tc %Tr %Ta %b %s %[var(txn.client),concat(,proc.salt),xxh64]"
    " %[var(txn.mark)] %hr %HM %HPO"
)


def salt() -> list[str]:
    """What clients' names are hashed with: nobody knows it, and it dies with its process."""
    return ["    set-var proc.salt uuid"]


def ring() -> list[str]:
    """The ring of memory that log lines go to."""
    return [f"ring {RING}", "    format raw", f"    maxlen {LONGEST}", f"    size {_SIZE}"]


def logging() -> list[str]:
    """Lines of the front: what is logged. X-Forwarded-For is whom we believe by now."""
    return [
        f"    log ring@{RING} len {LONGEST} format raw daemon info",
        f'    log-format "{_FORMAT}"',
        f"    http-request set-var(txn.client) req.cook({CLIENT_COOKIE})",
        "    http-request set-var(txn.client) req.fhdr(X-Forwarded-For) if !{ var(txn.client) -m found }",
        f"    http-request capture req.hdr(Host) len {HOST}",
        f"    http-request capture req.hdr(X-Forwarded-Proto) len {_SCHEME}",
    ]
