"""An app that keeps what it is told: each number in a SQLite database and in a file of its own, both in its directory.

POST /       a number; 200 when it is kept in both
GET /        all numbers that it has, and its version
"""

import os
import signal
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path("version.txt").read_text().strip()
FILES = Path("storage")


def opened() -> sqlite3.Connection:
    database = sqlite3.connect("db.sqlite3", timeout=30, isolation_level=None)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER)")
    return database


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        database = opened()
        kept = [str(number) for (number,) in database.execute("SELECT number FROM kept ORDER BY number")]
        database.close()
        self._answer(f"{VERSION}: {' '.join(kept)}")

    def do_POST(self) -> None:
        number = self.rfile.read(int(self.headers["Content-Length"])).decode()
        FILES.mkdir(exist_ok=True)
        (FILES / f"{number}.txt").write_text(number)
        database = opened()
        database.execute("INSERT INTO kept VALUES (?)", (int(number),))
        database.close()
        self._answer("kept")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
server.daemon_threads = False
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
