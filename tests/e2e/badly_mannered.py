"""An app that obeys SIGTERM in all but one way, the one that its `FAULT` names."""

from __future__ import annotations

FAULTS = ("ignores", "cuts", "listens", "idles", "child", "daemon")

_SOURCE = """
import os, signal, socket, subprocess, sys, threading, time
FAULT = "@FAULT@"
stopping = threading.Event()
busy, opened, threads = set(), set(), []

def serve(connection):
    try:
        with connection.makefile("rb") as lines:
            while True:
                first = lines.readline()
                if not first.strip():
                    return
                busy.add(connection)
                length = 0
                while (line := lines.readline().strip()):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                lines.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
                busy.discard(connection)
                if stopping.is_set() and FAULT != "idles":
                    return
    except OSError:
        pass
    finally:
        busy.discard(connection)
        opened.discard(connection)
        connection.close()

def accept():
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        opened.add(connection)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()

def on_sigterm(*_):
    if FAULT == "cuts":
        os._exit(0)
    if FAULT != "ignores":
        stopping.set()

signal.signal(signal.SIGTERM, on_sigterm)
if FAULT in ("child", "daemon"):
    subprocess.Popen(["sleep", "600"], start_new_session=FAULT == "daemon")
listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
threading.Thread(target=accept, daemon=True).start()
print("FAULT is", FAULT, flush=True)
stopping.wait()
if FAULT != "listens":
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
if FAULT != "idles":
    for connection in opened - busy:
        connection.shutdown(socket.SHUT_RDWR)
while busy or (FAULT == "idles" and opened):
    time.sleep(0.01)
if FAULT == "listens":
    time.sleep(1.5)
os._exit(0)
"""


def badly_mannered(fault: str) -> str:
    """The text of app.py with this fault; ``none`` has none."""
    return _SOURCE.replace("@FAULT@", fault)
