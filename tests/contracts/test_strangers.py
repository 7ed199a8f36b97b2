"""Which of several processes is the app that runs on a port: real ones, and real sockets."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import UsageError
from substitute.core.model.slots import Endpoint
from substitute.linux.containers import client_of
from substitute.linux.processes import descendants, identify, signal_group, signal_process
from substitute.probing.strangers import Listening
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_TWO = """
import os, socket, sys, time
for _ in range(2):
    if os.fork() == 0:
        if sys.argv[2:]:
            os.setpgrp()
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", int(sys.argv[1])))
        listening.listen()
        os.write(1, b"listens\\n")
        time.sleep(600)
time.sleep(600)
"""


@contextmanager
def two(port: int, *how: str) -> Iterator[int]:
    """Two processes with a socket each on one port; the pid of who started them."""
    argv = [sys.executable, "-c", _TWO, str(port), *how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout
        try:
            assert [parent.stdout.readline() for _ in range(2)] == [b"listens\n"] * 2
            yield parent.pid
        finally:
            for process in filter(None, map(identify, [*descendants(parent.pid), parent.pid])):
                signal_process(process, signal.SIGKILL)


def test_workers_with_a_socket_each_belong_to_who_started_them() -> None:
    endpoint = Endpoint("127.0.0.1", free_port())
    with two(endpoint.port) as parent:
        stranger = Listening().find(endpoint)
        assert stranger
        assert stranger.process.pid == parent


def test_who_keeps_several_programs_is_not_taken_for_one_of_them() -> None:
    """As supervisord does, or Docker's daemon: it would be stopped in the place of what listens."""
    endpoint = Endpoint("127.0.0.1", free_port())
    with (
        two(endpoint.port, "each in a group of its own"),
        pytest.raises(UsageError, match="Several programs listen"),
    ):
        Listening().find(endpoint)


def test_the_command_that_runs_a_container_in_its_foreground_is_found() -> None:
    """A unit of systemd's that runs it would start the container again after `docker stop`."""
    name = f"shop-{free_port()}"
    with subprocess.Popen(
        ["docker", "-c", "sleep 600; :", "run", "--name", name], executable="/bin/sh", start_new_session=True
    ) as client:
        process = identify(client.pid)
        assert process
        eventually(lambda: client_of("docker", name) == client.pid)
        assert client_of("docker", "another") is None
        assert client_of("podman", name) is None
        signal_group(process, signal.SIGKILL)
