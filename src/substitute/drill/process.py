"""The generator's process, from the side of the drill."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from substitute.linux.subprocesses import spawn_detached

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.drill.load import Load
    from substitute.drill.result.recording import Recording


class LoadProcess:
    """Load that flows from entering to `stop`, by a process of its own; `recording` grows meanwhile."""

    def __init__(self, load: Load, recording: Recording, *, directory: Path) -> None:
        self.log = directory / "drill.log"
        self._load = load
        self._recording = recording
        self._stopping = False
        self._flowing = threading.Event()
        self.lost = False
        """It ended before it was stopped; what it said is in `log`."""

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            self._pid = spawn_detached(
                [sys.executable, "-P", "-m", "substitute.drill.client.generator", str(theirs.fileno())],
                directory=self.log.parent,
                environment=dict(os.environ),
                log=self.log,
                pass_fds=[theirs.fileno()],
            )
        self._control = ours
        ours.sendall(self._load.to_json().encode() + b"\n")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._flowing.wait()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ChildProcessError, ProcessLookupError):
            if not self._stopping or self._reader.is_alive():
                os.kill(self._pid, signal.SIGKILL)  # our own child, not yet waited for
            os.waitpid(self._pid, 0)
        self._reader.join()
        self._control.close()

    def stop(self) -> None:
        """Begin no further request, and return when those under way are answered or given up."""
        self._stopping = True
        with suppress(OSError):
            self._control.sendall(b"stop")
        self._reader.join()

    def _read(self) -> None:
        with suppress(OSError), self._control.makefile("rb") as told:
            for line in told:
                if line.endswith(b"\n"):  # else it died in the middle of one
                    self._recording.add(json.loads(line))
                    self._flowing.set()
        self.lost = not self._stopping
        self._flowing.set()
