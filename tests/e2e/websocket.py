"""A WebSocket, both ends (RFC 6455, short text frames only): an app for a slot, and its client."""

from __future__ import annotations

import base64
import os
import socket

SERVER = """
import base64, hashlib, os, signal, socket, sys, threading
VERSION = open("version.txt").read().strip()
listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
stopping = threading.Event()
open_ones = []

def stop(*_):
    stopping.set()
    listener.shutdown(socket.SHUT_RDWR)

def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data

def echo(connection):
    while True:
        _, length = exactly(connection, 2)
        mask = exactly(connection, 4)
        text = bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(connection, length & 127)))
        answer = VERSION.encode() + b":" + text
        connection.sendall(bytes([0x81, len(answer)]) + answer)

def serve(connection):
    try:
        head = b""
        while b"\\r\\n\\r\\n" not in head:
            more = connection.recv(65536)
            if not more:
                return
            head += more
        headers = dict(l.split(": ", 1) for l in head.decode().lower().split("\\r\\n")[1:] if ": " in l)
        key = [l.split(": ")[1] for l in head.decode().split("\\r\\n") if l.lower().startswith("sec-websocket-key")]
        if not key:
            body = VERSION.encode()
            head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
            connection.sendall(head + body)
            return
        magic = (key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
        accept = base64.b64encode(hashlib.sha1(magic).digest())
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n"
                           b"Connection: Upgrade\\r\\nSec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
        echo(connection)
    except ConnectionError:
        pass
    finally:
        connection.close()

signal.signal(signal.SIGTERM, stop)
threads = []
while not stopping.is_set():
    try:
        connection, _ = listener.accept()
    except OSError:
        break
    threads.append(threading.Thread(target=serve, args=(connection,)))
    threads[-1].start()
for thread in threads:
    thread.join()
"""


class WebSocket:
    """A client that sends a short text and reads the short text that comes back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._exactly(1)
        assert b" 101 " in head.partition(b"\r\n")[0], head

    def ask(self, text: str) -> str:
        data, mask = text.encode(), os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)
        length = self._exactly(2)[1]
        return self._exactly(length).decode()

    def await_close(self) -> None:
        """Wait until the other side closes it, properly or not."""
        with self._socket:
            try:
                while self._socket.recv(65536):
                    pass
            except ConnectionError:
                pass

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            assert more, "the connection was closed"
            data += more
        return data
