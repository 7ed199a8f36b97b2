"""What runs on a host for one command that was typed elsewhere. It does not depend on the connection.

It says hello, and waits for ``go``: without one, nothing has begun. Then the command runs; ``interrupt`` does what
Ctrl-C does. Where the connection is gone, nobody says anything any more, and the command goes on to its end.

What the command writes goes through a buffer: a connection that is dead, and does not know it yet, is a pipe that
nobody empties, and the command would wait for that.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GO = "go"
INTERRUPT = "interrupt"
HELLO = "hello"
OBEYED = "obeyed"
"""The last event: ``exit`` is the status."""
PROTOCOL = 1
_CHUNK = 65536
_MOST = 64 << 20
"""Bytes that are kept for a reader; one who lets so much lie gets no more."""
_TICK_MS = 100
_PATIENCE = 10.0
"""Seconds that a reader who takes nothing is waited for at the end."""


def obey(hello: Mapping[str, Any], run: Callable[[], int], *, alone: bool = True) -> int:
    """Say hello, wait for the word, run, and say how that ended. The exit status is that of `run`, or 0 without it.

    What only shows something has no use without somebody who looks: not `alone`, it ends with the connection.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who has started this may have had it ignored
    _say(1, {"event": HELLO, "protocol": PROTOCOL, **hello})
    if not _told_to_go():
        return 0
    wire = Wire(alone=alone)
    wire.start()
    try:
        status = run()
    except BaseException:
        wire.close()
        raise
    with suppress(OSError):
        sys.stdout.flush()
    _say(1, {"event": OBEYED, "exit": status})
    wire.close()
    return status


def hang_up_with_connection() -> None:
    """Have this process get SIGHUP when the connection is gone, as at a terminal, where there is none."""
    poller = select.poll()
    for descriptor in (1, 2):
        if not os.isatty(descriptor):
            poller.register(descriptor, 0)  # only that nobody reads any more

    def wait() -> None:
        poller.poll()
        os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=wait, daemon=True).start()


def _say(descriptor: int, event: Mapping[str, Any]) -> None:
    with suppress(OSError):
        os.write(descriptor, f"{json.dumps(event)}\n".encode())


def _told_to_go() -> bool:
    """Read the first line, byte by byte: what comes after it is for the wire."""
    told = b""
    with suppress(OSError):
        while (byte := os.read(0, 1)) not in {b"", b"\n"}:
            told += byte
    return told.decode(errors="replace").strip() == GO


class Wire(threading.Thread):
    """Carries what is written to standard output to who reads it, and obeys what comes on standard input."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self._alone = alone
        self._out = os.dup(1)
        self._from, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        self._kept = bytearray()
        self._told = b""
        self._closing = threading.Event()

    def close(self) -> None:
        """Have all arrive that was written, where somebody takes it, and write there as before."""
        self._closing.set()
        self.join()
        os.dup2(self._out, 1)
        os.close(self._out)
        os.close(self._from)

    def run(self) -> None:
        """Until it is closed."""
        os.set_blocking(self._out, False)
        os.set_blocking(self._from, False)
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        poller.register(0, select.POLLIN)
        moved = time.monotonic()
        while True:
            closing = self._closing.is_set()
            with suppress(KeyError):
                poller.unregister(self._out)
            if self._kept:
                poller.register(self._out, select.POLLOUT)
            for descriptor, _ in poller.poll(_TICK_MS if not closing else _TICK_MS // 10):
                if descriptor == 0:
                    self._listen(poller)
                elif descriptor == self._out and self._write():
                    moved = time.monotonic()
            taken = self._take()
            if closing and not taken and (not self._kept or time.monotonic() - moved > _PATIENCE):
                break
            moved = moved if closing else time.monotonic()
        with suppress(OSError):
            os.set_blocking(self._out, True)

    def _take(self) -> bool:
        """Take what was written; whether there was anything."""
        with suppress(BlockingIOError):
            data = os.read(self._from, _CHUNK)
            if len(self._kept) < _MOST:
                self._kept += data
            return bool(data)
        return False

    def _write(self) -> bool:
        """Give the reader some; whether something moved."""
        try:
            written = os.write(self._out, self._kept[:_CHUNK])
        except BlockingIOError:
            return False
        except OSError:  # nobody reads any more: the command goes on all the same
            self._kept.clear()
            self._nobody_reads()
            return True
        del self._kept[:written]
        return True

    def _nobody_reads(self) -> None:
        void = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(void, self._out, inheritable=False)
        os.close(void)

    def _listen(self, poller: select.poll) -> None:
        data = b""
        with suppress(OSError):
            data = os.read(0, _CHUNK)
        if not data:  # the connection is gone
            poller.unregister(0)
            if not self._alone:
                _interrupt()
        *lines, self._told = (self._told + data).split(b"\n")
        for line in lines:
            if line.strip() == INTERRUPT.encode():
                _interrupt()


def _interrupt() -> None:
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGINT)
