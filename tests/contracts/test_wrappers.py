"""Whether SIGTERM reaches the app is foretold of real wrappers, and then it is sent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.running.wrappers import barrier
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import identify, is_alive, signal_group
from substitute.probing.observer import OutsideObserver
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
APP = (
    "process.on('SIGTERM', () => { console.log('told'); process.exit(0) })\n"
    "require('http').createServer((_, answer) => answer.end()).listen(process.env.PORT, '127.0.0.1')\n"
)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("start", "script", "keeper"),
    [
        ("exec node www.js", "", ""),
        ("cd . && exec node www.js", "", ""),
        ("A=1 exec node www.js", "", ""),
        ("cd . && node www.js", "", "sh"),
        ("exec sh -c 'node www.js; true'", "", "sh"),
        ("exec npm start", "node www.js", "sh"),
        ("exec npm start", "exec node www.js", ""),
    ],
)
def test_what_is_foretold_of_the_signal_is_what_happens(
    tmp_path: Path, start: str, script: str, keeper: str
) -> None:
    """The cure that is given for npm and for a shell is among the lines."""
    if "npm" in start and shutil.which("npm") is None:
        pytest.skip("npm is not here")
    (tmp_path / "www.js").write_text(APP)
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"start": script}}))
    (tmp_path / "start.sh").write_text(f"{start}\n")
    port, log = free_port(), tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            ["sh", "start.sh"], cwd=tmp_path, env={**os.environ, "PORT": str(port)},
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        ) as running,
    ):  # fmt: skip
        main = identify(running.pid)
        assert main
        try:
            eventually(lambda: listens(port), "the app listens")
            members = OutsideObserver().members(Endpoint("127.0.0.1", port), main, "SIGTERM")
            found = barrier(members, main)
            app = next(member.process for member in members if member.listens)
            assert (found.keeper.name if found else "") == keeper
            running.send_signal(signal.SIGTERM)
            eventually(lambda: not is_alive(main), "the main process ends")
            if keeper:
                assert is_alive(app)
                assert listens(port)
            else:
                eventually(lambda: not is_alive(app), "the app ends")
            assert ("told" in log.read_text()) is not bool(keeper)
        finally:
            signal_group(main, signal.SIGKILL)
