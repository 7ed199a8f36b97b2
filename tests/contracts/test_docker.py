"""What Docker alone does: containers outlive dockerd or do not, and are never started again once they were stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Limits, Process, Program
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import is_alive
from substitute.linux.root_names import prefix_of
from substitute.probing.instances import LocalInstances
from substitute.runtimes.docker.api import Absent, Api, Silent
from substitute.runtimes.docker.runtime import Docker
from substitute.runtimes.supervisord import runtime as supervisord
from substitute.values import replace
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.dockerd import Dockerd

pytestmark = pytest.mark.containers

PYTHON = f"{sys.executable} -S -E"
SLEEPER = f"{PYTHON} -c 'import time; time.sleep(600)'"
COUNTS = (
    f'{PYTHON} -c \'import signal, time; signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True)); '
    'print("ready", flush=True); time.sleep(600)\''
)


class Root:
    """A root directory whose containers are Docker's."""

    def __init__(self, docker: Dockerd, place: Path) -> None:
        self.docker = docker
        self.place = place
        self.run = place / "deploy" / "run"
        self.run.mkdir(parents=True)
        self.log = place / "shop" / "log" / "a.log"
        self.runtime = self.connect()

    def connect(self) -> Docker:
        return Docker(supervisord.connect(self.run), self.place)

    def start(self, command: str = SLEEPER, name: str = "shop_a", **more: Any) -> Process:
        more.setdefault("container", self.docker.container(self.run, init=more.pop("init", True)))
        return self.runtime.start(Program(name, command, self.run, {"A": "b"}, self.log, 10.0, **more))

    def wrote(self, text: str, name: str = "shop_a") -> None:
        eventually(lambda: text in self.lines(name), f"{text!r} in the log")

    def lines(self, name: str = "shop_a") -> list[str]:
        return self.runtime.last_lines(name, self.log, 1000)

    def is_restarted(self, process: Process, name: str = "shop_a") -> None:
        eventually(lambda: self.runtime.inspect(name).process not in {None, process}, "a new process")

    def starts_again_what_ends(self) -> None:
        """Wait until a dockerd that has left its containers alone (live-restore) starts them again when they end.

        When it starts, it asks the restart manager of each whether the container is to be started. That also begins the
        manager's pause of 100 ms, and what ends within the pause is left ended for good: "invalid call on an active
        restart manager" (moby: Container.ShouldRestart, called by Daemon.restore; handleContainerExit). Nothing shows
        the pause. But it is over when one of the same length is that began later: of a container that ends.
        """
        self.is_restarted(self.start("sh -c 'sleep 0.3; exit 3'", name="probe"), "probe")

    def called(self, name: str = "shop_a") -> str:
        return f"{prefix_of(self.place)}-{name}"

    def state(self, name: str = "shop_a") -> str:
        return self.docker("inspect", "--format={{.State.Status}}", self.called(name))

    def status(self, key: str) -> str:
        return self.docker("inspect", f"--format={{{{.{key}}}}}", self.called())

    def close(self) -> None:
        for name in self.runtime.kept():
            self.runtime.stop(name, None, timeout=0.0)
        self.runtime.shutdown()


@pytest.fixture
def root(docker: Dockerd, tmp_path: Path) -> Iterator[Root]:
    made = Root(docker, tmp_path)
    yield made
    if not docker.answers():
        docker.end(signal.SIGKILL)
        docker.start()
    made.close()


def test_its_process_is_the_first_one_of_the_container_as_this_machine_sees_it(root: Root) -> None:
    process = root.start(init=False)
    assert b"A=b" in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(os.fsencode(sys.executable))
    assert root.runtime.inspect("shop_a").process == process


def test_a_first_process_gets_no_signal_that_it_does_not_handle_and_so_is_killed_at_its_limit(
    root: Root,
) -> None:
    process = root.start(init=False)
    assert root.runtime.stop("shop_a", process, timeout=0.5).killed
    assert root.runtime.inspect("shop_a").exit == "SIGKILL"
    handles = COUNTS.replace('print("told", flush=True)', "os._exit(4)").replace(
        "signal, ", "os, signal, ", 1
    )
    process = root.start(handles, init=False)
    root.wrote("ready")
    assert not root.runtime.stop("shop_a", process, timeout=60.0).killed
    assert root.runtime.inspect("shop_a").exit == "exit status 4"


def test_it_is_told_once_by_whichever_command(root: Root) -> None:
    process = root.start(COUNTS, init=False)
    root.wrote("ready")
    root.connect().terminate("shop_a", process)
    root.wrote("told")
    assert not root.runtime.inspect("shop_a").wanted
    assert root.connect().stop("shop_a", process, timeout=0.5).killed
    assert root.lines().count("told") == 1


def test_one_that_is_just_to_be_started_again_is_not_once_it_was_stopped(root: Root) -> None:
    root.start("sh -c 'echo trying; sleep 0.3; exit 3'")
    eventually(lambda: root.state() == "restarting", "it waits for its next try")
    root.runtime.terminate("shop_a", None)
    eventually(lambda: root.state() == "exited", "it is at rest")
    assert root.runtime.kept() == set()


def test_what_was_stopped_stays_so_when_dockerd_starts_again_and_what_runs_comes_back(root: Root) -> None:
    stopped = root.start()
    root.runtime.stop("shop_a", stopped, timeout=10.0)
    before = root.start(name="shop_b")
    root.docker.end()
    assert not is_alive(before)
    assert root.runtime.inspect("shop_b").process is None
    root.docker.start()
    eventually(lambda: root.runtime.inspect("shop_b").process, "it comes back")
    assert root.state() == "exited"
    assert root.runtime.kept() == {"shop_b"}


def test_what_was_never_started_is_not_when_dockerd_starts_again(root: Root) -> None:
    root.docker("create", "--name", root.called(), "--restart=always", root.docker.images[True], "true")
    root.docker.end()
    root.docker.start()
    assert root.state() == "created"
    root.docker("rm", root.called())


def test_containers_outlive_a_dockerd_that_is_killed_and_are_found_without_it(root: Root) -> None:
    root.docker.end()
    root.docker.start("--live-restore")
    process = root.start()
    root.docker.end(signal.SIGKILL)
    assert is_alive(process)
    assert root.runtime.trace("shop_a") == process
    assert root.runtime.inspect("shop_a").process is None
    assert root.runtime.kept() == set()
    with pytest.raises(Absent, match="Docker does not run"):
        root.start(name="shop_b")
    root.docker.start("--live-restore")
    assert root.runtime.inspect("shop_a").process == process
    root.starts_again_what_ends()
    os.kill(process.pid, signal.SIGKILL)
    root.is_restarted(process)


def test_one_is_stopped_without_dockerd_too(root: Root) -> None:
    root.docker.end()
    root.docker.start("--live-restore")
    process = root.start()
    root.docker.end(signal.SIGKILL)
    assert not root.runtime.stop("shop_a", process, timeout=30.0).killed
    assert not is_alive(process)
    root.docker.start("--live-restore")


def test_a_dockerd_that_is_killed_and_starts_without_live_restore_ends_what_ran_and_starts_it_again(
    root: Root,
) -> None:
    process = root.start()
    root.docker.end(signal.SIGKILL)
    assert is_alive(process)
    root.docker.start()
    root.is_restarted(process)
    assert not is_alive(process)


def test_a_silent_dockerd_is_told_as_such_and_other_programs_do_not_depend_on_it(root: Root) -> None:
    root.start()
    plain = root.start("sleep 600", name="haproxy", container=None)
    assert root.docker.process
    root.docker.process.send_signal(signal.SIGSTOP)
    try:
        root.runtime._api.patience = 0.2
        assert root.runtime.inspect("haproxy").process == plain
        for ask in (lambda: root.runtime.inspect("shop_a"), root.runtime.kept):
            with pytest.raises(Silent, match="does not answer"):
                ask()
        assert not root.runtime.stop("haproxy", plain, timeout=10.0).killed
    finally:
        root.docker.process.send_signal(signal.SIGCONT)
        root.runtime = root.connect()


def test_a_name_goes_from_a_container_to_a_plain_program_and_back(root: Root) -> None:
    process = root.start("sh -c 'echo contained; exec sleep 600'")
    root.wrote("contained")
    root.runtime.stop("shop_a", process, timeout=10.0)
    plain = root.start("echo plain; exec sleep 600", container=None)
    assert root.runtime.inspect("shop_a").process == plain == root.runtime.trace("shop_a")
    root.wrote("plain")
    root.runtime.stop("shop_a", plain, timeout=10.0)
    again = root.start()
    assert root.runtime.inspect("shop_a").process == again


def test_what_is_abandoned_goes_on_and_is_not_started_again(root: Root) -> None:
    process = root.start(COUNTS, init=False)
    root.wrote("ready")
    root.runtime.abandon()
    assert is_alive(process)
    assert not root.runtime.inspect("shop_a").wanted
    root.runtime.terminate("shop_a", process)
    root.wrote("told")
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: root.state() == "exited", "its end")


def test_a_frozen_one_does_nothing_until_it_is_thawed_and_is_thawed_to_be_stopped(root: Root) -> None:
    process = root.start()
    for _ in range(2):
        root.runtime.freeze("shop_a")
    assert root.state() == "paused"
    for _ in range(2):
        root.runtime.thaw("shop_a")
    assert root.state() == "running"
    root.runtime.freeze("shop_a")
    assert root.runtime.kept() == {"shop_a"}
    assert not root.runtime.stop("shop_a", process, timeout=30.0).killed


def test_a_start_that_ended_half_way_is_made_good_by_the_next_one(root: Root) -> None:
    root.start()
    root.runtime.stop("shop_a", None, timeout=5.0)
    labels = [f"--label=substitute.root={root.place.resolve()}", "--label=substitute.name=shop_a"]
    root.docker("rm", root.called())
    root.docker("create", *labels, "--name", root.called(), root.docker.images[True], "true")
    assert is_alive(root.start())


def test_a_container_of_somebody_else_is_not_touched(root: Root) -> None:
    root.docker("create", "--name", root.called(), root.docker.images[True], "true")
    with pytest.raises(RuntimeFailedError, match=root.called()):
        root.start()
    assert root.state() == "created"
    root.docker("rm", root.called())


def test_what_docker_cannot_start_is_told_in_its_words_and_leaves_nothing(root: Root) -> None:
    with pytest.raises(RuntimeFailedError, match=r"no-such-program.*not found"):
        root.start("no-such-program", init=False)
    assert root.docker("ps", "--all", "--quiet", f"--filter=name={root.called()}") == ""


def test_an_image_that_is_gone_and_a_port_that_is_taken_are_told_with_what_helps(root: Root) -> None:
    gone = replace(root.docker.container(root.run, init=True), image=f"sha256:{'0' * 64}")
    with pytest.raises(RuntimeFailedError) as failed:
        root.start(container=gone)
    assert "substitute restart" in failed.value.cure, failed.value
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = Endpoint("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(RuntimeFailedError) as failed:
            root.start(container=root.docker.container(root.run, {endpoint: 80}))
    assert "ss -ltnp" in failed.value.cure, failed.value


def test_a_dockerd_whose_processes_are_not_of_this_machine_is_refused(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("substitute.runtimes.docker.runtime._cgroup", lambda _: "0::/")
    with pytest.raises(RuntimeFailedError, match="does not see their processes"):
        root.start()
    assert root.docker("ps", "--all", "--quiet", f"--filter=name={root.called()}") == ""


def test_it_is_held_to_its_limits(root: Root) -> None:
    limits = Limits(memory=64 << 20, cpu=0.5, tasks=50, nofile=333)
    root.start("sh -c 'ulimit -n; exec sleep 600'", limits=limits)
    root.wrote("333")
    keys = ("Memory", "MemorySwap", "NanoCpus", "PidsLimit")
    assert [root.status(f"HostConfig.{key}") for key in keys] == [str(64 << 20)] * 2 + ["500000000", "50"]
    assert root.status("HostConfig.SecurityOpt") == "[no-new-privileges]"
    assert root.status("HostConfig.LogConfig.Config") == "map[max-file:3 max-size:10m]"


def test_one_that_takes_too_much_memory_is_told_as_such(root: Root) -> None:
    greedy = f"{PYTHON} -c 'import time; print(1, flush=True); time.sleep(0.3); bytearray(1 << 28); time.sleep(600)'"
    root.start(greedy, limits=Limits(memory=32 << 20), init=False)
    eventually(lambda: "out of memory" in root.runtime.inspect("shop_a").exit, "its end")


def test_a_published_port_is_held_by_a_process_of_docker_for_that_container_alone(root: Root) -> None:
    server = (
        f"{PYTHON} -c 'import socket, time; one = socket.create_server((\"0.0.0.0\", 80)); time.sleep(600)'"
    )
    found = {}
    for name in ("shop_a", "shop_b"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            endpoint = Endpoint("127.0.0.1", free.getsockname()[1])
        process = root.start(server, name=name, container=root.docker.container(root.run, {endpoint: 80}))
        found[endpoint] = process
        eventually(partial(_accepts, endpoint), "it answers")
    for endpoint in found:
        for other, process in found.items():
            assert LocalInstances().owned(endpoint, process) is (other == endpoint)


def test_the_lines_of_a_container_outlive_it(root: Root) -> None:
    for number in range(3):
        root.start(f"sh -c 'echo line {number}; exec sleep 600'")
        root.wrote(f"line {number}")
        root.runtime.stop("shop_a", None, timeout=10.0)
    assert root.lines() == ["line 0", "line 1", "line 2"]
    assert root.runtime.last_lines("shop_a", root.log, 2) == ["line 1", "line 2"]
    assert root.log.with_suffix(".earlier").stat().st_mode & 0o077 == 0


def test_it_is_followed_across_its_crashes_each_line_once(root: Root) -> None:
    seen: list[str] = []
    root.start("sh -c 'date +%N; date +%N >&2; sleep 0.3; exit 3'")

    def take(_: str, line: str) -> None:
        seen.append(line)
        if len(seen) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        root.runtime.follow({"shop_a": (root.log, 5)}, take)
    assert sorted(root.lines()[:8]) == sorted(seen)


def test_nothing_is_left_of_a_root_that_is_shut_down(root: Root) -> None:
    process = root.start()
    root.runtime.stop("shop_a", process, timeout=10.0)
    root.runtime.shutdown()
    assert root.docker("ps", "--all", "--quiet", f"--filter=name={root.called()}") == ""
    assert not list(root.run.glob("*.container"))


def test_a_docker_that_speaks_only_later_versions_is_asked_in_its_own(tmp_path: Path) -> None:
    asked = []
    too_old = (
        b'{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade"}'
    )

    def answer(server: socket.socket) -> None:
        for status, body in ((b"400 Bad Request", too_old), (b"200 OK", b"[]")):
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65536).split()[1])
                head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                connection.sendall(head % (status, len(body)) + body)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        thread = Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        assert Api(f"unix://{tmp_path}/socket").get("/containers/json") == []
        thread.join(10.0)
    assert asked == [b"/v1.41/containers/json", b"/v1.44/containers/json"]


def _accepts(endpoint: Endpoint) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex((endpoint.host, endpoint.port)) == 0
