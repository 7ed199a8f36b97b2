"""A tiny web app with good manners, of Python's standard library alone.

After SIGTERM it refuses new connections, finishes the requests it has, closes idle connections and exits.

    /            "version N"
    POST /       its body
    /slow?S      the same as /, S seconds later
    /stream?S    a line every 100 ms, for S seconds
    /crash       exits at once, as a bug would
"""

import asyncio
import os
import signal
from pathlib import Path

VERSION = Path(__file__).with_name("version.txt").read_text(encoding="utf-8").strip()
_busy: set[asyncio.StreamWriter] = set()
_open: set[asyncio.StreamWriter] = set()
_stopping = asyncio.Event()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _open.add(writer)
    try:
        while not _stopping.is_set():
            head = await reader.readuntil(b"\r\n\r\n")
            _busy.add(writer)
            if not await _answer(head.decode("latin-1"), reader, writer):
                break
            _busy.discard(writer)
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        _busy.discard(writer)
        _open.discard(writer)
        writer.close()


async def _answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, seconds = target.partition("?")
    if path == "/crash":
        os._exit(3)
    if path == "/stream":
        return await _stream(writer, float(seconds))
    if path == "/slow":
        await asyncio.sleep(float(seconds))
    if method != "POST":
        body = f"version {VERSION}\n".encode()
    last = _stopping.is_set() or headers.get("connection", "").lower() == "close"
    connection = "close" if last else "keep-alive"
    writer.write(
        f"HTTP/1.1 200 OK\r\nX-Version: {VERSION}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {connection}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    return not last


async def _stream(writer: asyncio.StreamWriter, seconds: float) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for _ in range(int(seconds * 10)):
        writer.write(f"data: version {VERSION}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(0.1)
    return False


async def main() -> None:
    """Serve on HOST and PORT until SIGTERM, then finish what is under way."""
    server = await asyncio.start_server(_serve, os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _stopping.set)
    print(f"version {VERSION} listens on port {os.environ['PORT']}", flush=True)  # noqa: T201
    await _stopping.wait()
    server.close()
    for writer in _open - _busy:
        writer.close()
    while _busy:  # noqa: ASYNC110  # one loop, at the very end
        await asyncio.sleep(0.005)
    print(f"version {VERSION} has finished", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
