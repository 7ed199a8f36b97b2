"""An app that says who it is: ``python echo_app.py NAME PORT [HOST]``. What the tests of balancers put behind them."""

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
NAME, PORT = sys.argv[1], int(sys.argv[2])
HOST = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"

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
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = line.split()[1]
            if path == "/peer":
                body, path = writer.get_extra_info("peername")[0].encode(), "/echo"
            said = await answer(path, headers, body)
            if path == "/half":
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
    ``/release``; ``/peer``: the client's address.
    """
    _, verb, value = (*path.split("/"), "", "")[:3]
    if verb == "wait":
        await released.wait()
    if verb == "release":
        released.set()
    if verb == "sleep":
        await asyncio.sleep(float(value))
    name = b"" if verb == "echo" else NAME.encode()
    said = json.dumps(headers).encode() if verb == "headers" else name + body
    status = int(value) if verb == "status" else 200
    head = f"HTTP/1.1 {status} Said\r\nX-Version: {NAME}\r\nContent-Length: {len(said)}\r\n\r\n"
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


async def main() -> None:
    """Listen until SIGTERM; with WAITS in the environment, until every connection is closed by its client too."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(serve, HOST, PORT, backlog=1024, limit=1 << 20)
    print("ready", flush=True)  # noqa: T201  # to whoever started it
    await ended.wait()
    server.close()
    while "WAITS" in os.environ and connections:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


asyncio.run(main())
