"""Apps that say who they are: what the tests of balancers put behind them.

Each line of standard input, NAME PORT HOST WAITS as JSON, forks one off: Python starts once for hundreds of them. When
it listens, or cannot, its name and its pid are written, or 0.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from base64 import b64encode
from contextlib import suppress

_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NAME = ""

released = asyncio.Event()
connections: set[asyncio.StreamWriter] = set()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, one after the other."""
    connections.add(writer)
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.split("\r\n")
            headers = {
                key.lower(): value for key, _, value in (entry.partition(": ") for entry in rest if entry)
            }
            if "upgrade" in headers:
                await echo(reader, writer, headers["sec-websocket-key"])
                break
            path = line.split()[1]
            if path.startswith("/late/"):
                await asyncio.sleep(float(path.removeprefix("/late/")))
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if path == "/peer":
                body, path = writer.get_extra_info("peername")[0].encode(), "/echo"
            said = await answer(path, headers, body)
            if path in {"/half", "/events"}:
                writer.write(said[:-1])
                await writer.drain()
                await released.wait()
                said = said[-1:]
            writer.write(said)
            await writer.drain()
            if headers.get("connection", "").lower() == "close":
                break
    writer.close()
    connections.discard(writer)


async def answer(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Say the name, and what was posted.

    ``/wait`` until ``/release``; ``/sleep/SECONDS``; ``/status/CODE``; ``/headers``; ``/half``: the last byte after
    ``/release``; ``/events``: so does an event stream; ``/peer``: the client's address; ``/assets/NAME``: 404 but from
    the app of that name, which answers ``/assets/NAME/wait`` after ``/release``; ``/late/SECONDS``: a
    body is read after them.
    """
    _, verb, value, then = (*path.split("/"), "", "", "")[:4]
    if verb == "wait" or (then == "wait" and value == NAME):
        await released.wait()
    if verb == "release":
        released.set()
    if verb == "sleep":
        await asyncio.sleep(float(value))
    name = b"" if verb == "echo" else NAME.encode()
    said = json.dumps(headers).encode() if verb == "headers" else name + body
    status = int(value) if verb == "status" else 404 if verb == "assets" and value != NAME else 200
    kind = "event-stream" if verb == "events" else "plain"
    head = f"HTTP/1.1 {status} Said\r\nX-Version: {NAME}\r\nContent-Type: text/{kind}\r\n"
    head += f"Content-Length: {len(said)}\r\n\r\n"
    return head.encode() + said


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """After an upgrade: every line comes back with the name before it; ``close`` ends it."""
    accepted = b64encode(hashlib.sha1(f"{key}{_WEBSOCKET}".encode()).digest()).decode()  # noqa: S324  # RFC 6455
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accepted.encode()
    )
    while (line := await reader.readline()) and line != b"close\n":
        writer.write(NAME.encode() + b" " + line)
        await writer.drain()


def tell(pid: int) -> None:
    """To whoever asked for it; one write, for others may be telling too."""
    os.write(1, f"{NAME} {pid}\n".encode())


async def run(port: int, host: str, *, waits: bool) -> None:
    """Listen until SIGTERM; where it waits, until every connection is closed by its client too."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(serve, host, port, backlog=1024, limit=1 << 20)
    tell(os.getpid())
    await ended.wait()
    server.close()
    while waits and connections:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def main() -> None:
    """Fork an app off for each line, until there are no more."""
    global NAME  # each process is one app
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: the kernel buries them
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            NAME, port, host, waits = json.loads(line)
            try:
                asyncio.run(run(port, host, waits=waits))
            except OSError:
                tell(0)
                raise
            finally:
                sys.stderr.flush()
            os._exit(0)


if __name__ == "__main__":
    main()
