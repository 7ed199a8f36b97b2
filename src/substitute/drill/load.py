"""What load is put on the front door, as one frozen value, and the requests that it is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from substitute.balancers.haproxy.names import DRILL_HEADER, SLOT_HEADER
from substitute.http.exchange import request

if TYPE_CHECKING:
    from substitute.http.answer import Head


class LaneName(StrEnum):
    """The kinds of traffic that flow beside each other."""

    KEEP_ALIVE = "keep-alive"
    NEW = "new connection"
    SLOW = "slow"
    UPLOAD = "upload"
    WEBSOCKET = "websocket"
    SSE = "sse"


PACED = (LaneName.KEEP_ALIVE, LaneName.NEW)
"""Those that are sent at a rate, and whose latency is told."""
STREAMS = (LaneName.WEBSOCKET, LaneName.SSE)
_UPLOADED = "substitute" * 100


@dataclass(frozen=True)
class Load:
    """All that the generator needs to know. Times are seconds."""

    url: str
    """The front door: scheme, host and port."""
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    """Of each request."""
    expect: str = ""
    """Must be in the body of each answer to a paced request."""
    rate: float = 100.0
    """Paced requests a second."""
    connections: int = 10
    new: float = 0.1
    """The share of the paced requests for each of which a connection is opened, 0 to 1."""
    timeout: float = 30.0
    slow: str | None = None
    """A path that takes long in the app."""
    upload: str | None = None
    """A path that is sent a body whose second half comes `pause` later."""
    pause: float = 2.0
    websocket: str | None = None
    sse: str | None = None
    beside: int = 4
    """How many slow requests, uploads, WebSockets and event streams are always under way, each."""
    in_waves: bool = False
    """The deployment ends streams (`drain.streams`): one that was open may be closed without a word, but not reset."""
    version_header: str = "X-Version"
    insecure: bool = False
    """Do not verify the certificate."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Load:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "headers": tuple((name, value) for name, value in values["headers"])})

    @property
    def host_header(self) -> str:
        """What the requests say that they are for."""
        given = [value for name, value in self.headers if name.lower() == "host"]
        return given[0] if given else urlsplit(self.url).netloc.rpartition("@")[2]

    def version(self, head: Head) -> str:
        """What the app calls itself in an answer; else the slot that HAProxy names; else empty."""
        slot = head.headers.get(SLOT_HEADER.lower())
        return head.headers.get(self.version_header.lower()) or (f"slot {slot}" if slot else "")

    def request(self, lane: LaneName, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
        """Return the bytes of a request of `lane`, its body included."""
        path = {
            LaneName.SLOW: self.slow,
            LaneName.UPLOAD: self.upload,
            LaneName.WEBSOCKET: self.websocket,
            LaneName.SSE: self.sse,
        }.get(lane, self.path)
        stream = lane in STREAMS
        method = {LaneName.UPLOAD: "POST", LaneName.WEBSOCKET: "GET", LaneName.SSE: "GET"}.get(
            lane, self.method
        )
        body = b"" if stream else (self.body or (_UPLOADED if lane is LaneName.UPLOAD else "")).encode()
        ending = "close" if lane in {LaneName.NEW, LaneName.SSE} else "keep-alive"
        own = [
            ("Host", self.host_header),
            ("User-Agent", "substitute-drill"),
            ("Accept", "*/*"),
            (DRILL_HEADER, "1"),  # HAProxy then says in its answer which slot it came from
        ]
        own.append(("Connection", "Upgrade" if lane is LaneName.WEBSOCKET else ending))
        if body or method not in {"GET", "HEAD"}:
            own.append(("Content-Length", str(len(body))))
        given = {name.lower(): (name, value) for name, value in (*self.headers, *extra)}
        headers = [(name, value) for name, value in own if name.lower() not in given]
        headers += given.values()
        return request(method, path or self.path, headers, body)
