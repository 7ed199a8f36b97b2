"""The sample app of `substitute demo` once more, with threads: it starts in a third of the processor time.

Hundreds of versions are started here, and all that asyncio imports took longer than what they answered.

    /            "version N"
    POST /       its body
    /slow?S      the same as /, S seconds later
    /stream?S    a line every 100 ms, for S seconds
    /crash       exits at once, as a bug would
"""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from io import BufferedReader

with open("version.txt", encoding="utf-8") as _file:  # noqa: PTH123  # pathlib takes as long as all the rest
    VERSION = _file.read().strip()
_busy: set[socket.socket] = set()
_open: set[socket.socket] = set()
_stopping = threading.Event()


def _serve(client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with client, client.makefile("rb") as reader:
            while not _stopping.is_set() and (head := _head(reader)):
                _busy.add(client)
                if not _answer(head, reader, client):
                    break
                _busy.discard(client)
    except OSError:
        pass
    finally:
        _busy.discard(client)
        _open.discard(client)


def _head(reader: BufferedReader) -> list[str]:
    lines = []
    while (line := reader.readline().decode("latin-1")).strip():
        lines.append(line.strip())
    return lines if line else []


def _answer(head: list[str], reader: BufferedReader, client: socket.socket) -> bool:
    first, *lines = head
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = reader.read(int(headers.get("content-length", "0")))
    path, _, seconds = target.partition("?")
    if path == "/crash":
        os._exit(3)
    if path == "/stream":
        return _stream(client, float(seconds))
    if path == "/slow":
        time.sleep(float(seconds))
    if method != "POST":
        body = f"version {VERSION}\n".encode()
    last = _stopping.is_set() or headers.get("connection", "").lower() == "close"
    connection = "close" if last else "keep-alive"
    client.sendall(
        f"HTTP/1.1 200 OK\r\nX-Version: {VERSION}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {connection}\r\n\r\n".encode()
        + body
    )
    return not last


def _stream(client: socket.socket, seconds: float) -> bool:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for _ in range(int(seconds * 10)):
        client.sendall(f"data: version {VERSION}\n\n".encode())
        time.sleep(0.1)
    return False


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):  # it was closed
        while True:
            client, _ = listener.accept()
            _open.add(client)
            threading.Thread(target=_serve, args=(client,), daemon=True).start()


def main() -> None:
    """Serve on HOST and PORT until SIGTERM, then finish what is under way."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=100)
    signal.signal(signal.SIGTERM, lambda *_: _stopping.set())
    accepting = threading.Thread(target=_accept, args=(listener,), daemon=True)
    accepting.start()
    print(f"version {VERSION} listens on port {port}", flush=True)  # noqa: T201
    _stopping.wait()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()
    for client in _open - _busy:
        with suppress(OSError):  # it may have hung up itself
            client.shutdown(socket.SHUT_RDWR)
    while _busy:
        time.sleep(0.005)
    print(f"version {VERSION} has finished", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
